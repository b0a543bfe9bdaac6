# What Karpenter needs on AWS's side: a role, a queue that tells of interruptions, tags to find subnets and
# security groups by. Karpenter itself is a chart (docs/deploy/aws.md).
locals {
  ec2     = "arn:${var.partition}:ec2:${var.region}:${var.account_id}"
  owned   = "kubernetes.io/cluster/${var.name}"
  queue   = "arn:${var.partition}:sqs:${var.region}:${var.account_id}:${var.name}-karpenter"
  profile = "arn:${var.partition}:iam::${var.account_id}:instance-profile/*"

  # Ids of instances, and of what belongs to one, are AWS's: the wildcards stand for ids and are bound by
  # the cluster's tag, in what is asked for or in what is there.
  requested = { StringEquals = { "aws:RequestTag/${local.owned}" = "owned" }, StringLike = { "aws:RequestTag/karpenter.sh/nodepool" = "*" } }
  there     = { StringEquals = { "aws:ResourceTag/${local.owned}" = "owned" }, StringLike = { "aws:ResourceTag/karpenter.sh/nodepool" = "*" } }
  made      = [for kind in ["fleet", "instance", "launch-template", "network-interface", "spot-instances-request", "volume"] : "${local.ec2}:${kind}/*"]

  karpenter = [
    {
      # What a new instance is made of: images are AWS's own, the rest carries this cluster's tag.
      Effect   = "Allow"
      Action   = ["ec2:CreateFleet", "ec2:RunInstances"]
      Resource = ["arn:${var.partition}:ec2:${var.region}::image/*", "arn:${var.partition}:ec2:${var.region}::snapshot/*"]
      # Amazon's AMIs and their snapshots are of accounts that are not ours.
      Condition = { StringEquals = { "ec2:Owner" = "amazon" } }
    },
    {
      Effect    = "Allow"
      Action    = ["ec2:CreateFleet", "ec2:RunInstances"]
      Resource  = ["${local.ec2}:security-group/*", "${local.ec2}:subnet/*"]
      Condition = { StringEquals = { "aws:ResourceTag/karpenter.sh/discovery" = var.name } }
    },
    {
      Effect    = "Allow"
      Action    = ["ec2:CreateFleet", "ec2:RunInstances"]
      Resource  = ["${local.ec2}:launch-template/*"]
      Condition = local.there
    },
    {
      Effect    = "Allow"
      Action    = ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
      Resource  = local.made
      Condition = local.requested
    },
    {
      Effect   = "Allow"
      Action   = ["ec2:CreateTags"]
      Resource = local.made
      Condition = {
        StringEquals = {
          "aws:RequestTag/${local.owned}" = "owned"
          "ec2:CreateAction"              = ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]
        }
        StringLike = { "aws:RequestTag/karpenter.sh/nodepool" = "*" }
      }
    },
    {
      Effect    = "Allow"
      Action    = ["ec2:CreateTags"]
      Resource  = ["${local.ec2}:instance/*"]
      Condition = merge(local.there, { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name", "eks:eks-cluster-name", "karpenter.sh/nodeclaim"] } })
    },
    {
      Effect    = "Allow"
      Action    = ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"]
      Resource  = ["${local.ec2}:instance/*", "${local.ec2}:launch-template/*"]
      Condition = local.there
    },
    {
      Effect = "Allow"
      Action = [
        "ec2:DescribeAvailabilityZones", "ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances", "ec2:DescribeLaunchTemplates", "ec2:DescribeSecurityGroups", "ec2:DescribeSpotPriceHistory",
        "ec2:DescribeSubnets",
      ]
      Resource  = ["*"]
      Condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
    },
    { Effect = "Allow", Action = ["pricing:GetProducts"], Resource = ["*"] },
    # Numbers of Amazon's images, which are public.
    { Effect = "Allow", Action = ["ssm:GetParameter"], Resource = ["arn:${var.partition}:ssm:${var.region}::parameter/aws/service/*"] },
    {
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
      Resource = [local.queue]
    },
    {
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = ["arn:${var.partition}:iam::${var.account_id}:role/${var.name}-node"]
      Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
    },
    {
      Effect   = "Allow"
      Action   = ["iam:CreateInstanceProfile", "iam:TagInstanceProfile"]
      Resource = [local.profile]
      Condition = {
        StringEquals = { "aws:RequestTag/${local.owned}" = "owned", "aws:RequestTag/topology.kubernetes.io/region" = var.region }
        StringLike   = { "aws:RequestTag/karpenter.k8s.aws/ec2nodeclass" = "*" }
      }
    },
    {
      Effect   = "Allow"
      Action   = ["iam:AddRoleToInstanceProfile", "iam:DeleteInstanceProfile", "iam:RemoveRoleFromInstanceProfile"]
      Resource = [local.profile]
      Condition = {
        StringEquals = { "aws:ResourceTag/${local.owned}" = "owned", "aws:ResourceTag/topology.kubernetes.io/region" = var.region }
        StringLike   = { "aws:ResourceTag/karpenter.k8s.aws/ec2nodeclass" = "*" }
      }
    },
    { Effect = "Allow", Action = ["iam:GetInstanceProfile"], Resource = [local.profile] },
    { Effect = "Allow", Action = ["iam:ListInstanceProfiles"], Resource = ["*"] },
    { Effect = "Allow", Action = ["eks:DescribeCluster"], Resource = ["arn:${var.partition}:eks:${var.region}:${var.account_id}:cluster/${var.name}"] },
  ]
}

resource "aws_iam_role" "karpenter" {
  name        = "${var.name}-karpenter"
  description = "Simcloud: Karpenter starts and ends nodes"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = {
        StringEquals = {
          "aws:RequestTag/eks-cluster-name"           = var.name
          "aws:RequestTag/kubernetes-namespace"       = "kube-system"
          "aws:RequestTag/kubernetes-service-account" = "karpenter"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "karpenter" {
  name   = "simcloud"
  role   = aws_iam_role.karpenter.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.karpenter })
}

resource "aws_eks_pod_identity_association" "karpenter" {
  cluster_name    = aws_eks_cluster.main.name
  namespace       = "kube-system"
  service_account = "karpenter"
  role_arn        = aws_iam_role.karpenter.arn
}

resource "aws_sqs_queue" "karpenter" {
  name                      = "${var.name}-karpenter"
  message_retention_seconds = 300
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "karpenter" {
  queue_url = aws_sqs_queue.karpenter.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sqs:SendMessage"]
      Principal = { Service = "events.amazonaws.com" }
      Resource  = [local.queue]
      Condition = { ArnEquals = { "aws:SourceArn" = [for key in keys(local.interruptions) : "arn:${var.partition}:events:${var.region}:${var.account_id}:rule/${var.name}-karpenter-${key}"] } }
    }]
  })
}

locals {
  interruptions = {
    health    = { source = "aws.health", kind = "AWS Health Event" }
    rebalance = { source = "aws.ec2", kind = "EC2 Instance Rebalance Recommendation" }
    spot      = { source = "aws.ec2", kind = "EC2 Spot Instance Interruption Warning" }
    state     = { source = "aws.ec2", kind = "EC2 Instance State-change Notification" }
  }
}

resource "aws_cloudwatch_event_rule" "karpenter" {
  for_each = local.interruptions

  name          = "${var.name}-karpenter-${each.key}"
  description   = "Tells Karpenter: ${each.value.kind}"
  event_pattern = jsonencode({ source = [each.value.source], "detail-type" = [each.value.kind] })
}

resource "aws_cloudwatch_event_target" "karpenter" {
  for_each = aws_cloudwatch_event_rule.karpenter

  rule = each.value.name
  arn  = aws_sqs_queue.karpenter.arn
}
