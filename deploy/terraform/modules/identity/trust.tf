# Who may take which role.
locals {
  # Pod Identity tells these of every pod; without them any association of the account could take any role.
  by_pods = {
    for role in keys(local.services) : role => {
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = {
        StringEquals = {
          "aws:RequestTag/eks-cluster-name"           = var.cluster_name
          "aws:RequestTag/kubernetes-namespace"       = var.namespace
          "aws:RequestTag/kubernetes-service-account" = role
        }
      }
    }
  }
  by_service_accounts = {
    for role in keys(local.services) : role => {
      Effect    = "Allow"
      Action    = ["sts:AssumeRoleWithWebIdentity"]
      Principal = { Federated = "${local.iam}:oidc-provider/${var.oidc_issuer}" }
      Condition = {
        StringEquals = {
          "${var.oidc_issuer}:aud" = "sts.amazonaws.com"
          "${var.oidc_issuer}:sub" = "system:serviceaccount:${var.namespace}:${role}"
        }
      }
    } if var.oidc_issuer != ""
  }
  # AWS Batch starts jobs as ECS tasks.
  by_tasks = {
    for role in ["batch-execution", "run"] : role => {
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }
  }
  by_sagemaker = {
    sagemaker = {
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { Service = "sagemaker.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }
  }
  by_webapp = {
    for role in ["webapp"] : role => {
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { AWS = var.webapp_principals }
      Condition = { StringEquals = { "aws:PrincipalAccount" = [for arn in var.webapp_principals : split(":", arn)[4]] } }
    } if length(var.webapp_principals) > 0
  }
  github_host = "token.actions.githubusercontent.com"
  by_github = {
    for role in ["github"] : role => {
      Effect    = "Allow"
      Action    = ["sts:AssumeRoleWithWebIdentity"]
      Principal = { Federated = var.github_provider_arn == "" ? "${local.iam}:oidc-provider/${local.github_host}" : var.github_provider_arn }
      Condition = {
        StringEquals = {
          "${local.github_host}:aud" = "sts.amazonaws.com"
          "${local.github_host}:sub" = "repo:${var.github_repository}:environment:${var.github_environment}"
        }
      }
    } if var.github_repository != ""
  }

  trust = {
    for role in keys(local.statements) : role => jsonencode({
      Version = "2012-10-17"
      Statement = flatten([
        for grants in [local.by_pods, local.by_service_accounts, local.by_tasks, local.by_sagemaker, local.by_webapp, local.by_github] :
        [for name, grant in grants : grant if name == role]
      ])
    })
  }
}
