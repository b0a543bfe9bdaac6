# What each role may do, and nothing else. A statement is {actions, resources, condition}; empty ones
# (no endpoint, no asynchronous endpoint) fall away below.
locals {
  # IfExists: GetObject of a key that is not there asks for ListBucket without a prefix, and S3 answers 403
  # instead of 404 without it. So a listing that names no prefix is let through; it shows names and no data.
  list_runs = {
    actions   = ["s3:ListBucket"]
    resources = [local.s3]
    condition = { StringLikeIfExists = { "s3:prefix" = ["${var.prefixes.runs}/*"] } }
  }
  # ListMultipartUploads knows no condition on the prefix; it shows names and no data.
  list_uploads = { actions = ["s3:ListBucketMultipartUploads"], resources = [local.s3], condition = {} }
  read_runs    = { actions = ["s3:GetObject"], resources = [local.objects.runs], condition = {} }
  write_runs = {
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = [local.objects.runs]
    condition = {}
  }
  invoke       = { actions = ["sagemaker:InvokeEndpoint"], resources = local.invoked, condition = {} }
  invoke_async = { actions = ["sagemaker:InvokeEndpointAsync"], resources = local.invoked_async, condition = {} }
  pull_images = {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = values(local.repositories)
    condition = {}
  }
  registry_login = { actions = ["ecr:GetAuthorizationToken"], resources = ["*"], condition = {} }
  async_places   = length(local.async) == 0 ? [] : [local.objects.async_input]
  async_answers  = length(local.async) == 0 ? [] : [local.objects.async_output]

  services = {
    uploader  = [local.write_runs, local.list_runs, local.list_uploads]
    generator = [local.read_runs, local.list_runs]
    run       = [local.write_runs, local.list_runs, local.list_uploads]
    "inference-router" = [
      local.invoke,
      local.invoke_async,
      { actions = ["s3:GetObject"], resources = [local.objects.runs, local.objects.uploads], condition = {} },
      { actions = ["s3:DeleteObject", "s3:PutObject"], resources = local.async_places, condition = {} },
      { actions = ["s3:GetObject"], resources = local.async_answers, condition = {} },
      # As list_runs: an answer that is not there yet is to be a 404.
      {
        actions   = ["s3:ListBucket"]
        resources = length(local.async) == 0 ? [] : [local.s3]
        condition = { StringLikeIfExists = { "s3:prefix" = ["${var.prefixes.async_output}/*"] } }
      },
      # AWS's router asks its destinations with its caller's credentials: both are needed, the second only for that.
      { actions = ["sagemaker:InvokeInferenceRouter"], resources = local.inference_routers, condition = {} },
      {
        actions   = ["sagemaker:InvokeEndpoint"]
        resources = local.destinations
        condition = { ArnEquals = { "sagemaker:SourceInferenceRouterArn" = local.inference_routers } }
      },
      # Both know no resource (iam-exceptions.json): they show names, states and tags, and no data.
      {
        actions   = ["sagemaker:ListEndpoints", "tag:GetResources"]
        resources = var.router_discovery ? ["*"] : []
        condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
      },
      # Of any name, since others deploy them; the tag by which the router finds them must be there.
      {
        actions   = ["sagemaker:InvokeEndpoint"]
        resources = var.router_discovery ? ["${local.sagemaker}:endpoint/*"] : []
        condition = { Null = { "aws:ResourceTag/simcloud:model" = "false" } }
      },
    ]
  }

  # Of transform jobs there is one group in an account, whatever the model.
  sagemaker_logs = concat(
    [for item in var.endpoints : "${local.logs}:/aws/sagemaker/Endpoints/${item.endpoint}"],
    ["${local.logs}:${var.transform_log_group}"],
  )
  sagemaker_role = [
    local.registry_login,
    { actions = local.pull_images.actions, resources = [local.repositories["simcloud-model-container"]], condition = {} },
    { actions = ["logs:CreateLogStream", "logs:DescribeLogStreams"], resources = local.sagemaker_logs, condition = {} },
    { actions = ["logs:PutLogEvents"], resources = [for group in local.sagemaker_logs : "${group}:log-stream:*"], condition = {} },
    {
      actions   = ["cloudwatch:PutMetricData"]
      resources = ["*"]
      condition = { StringEquals = { "cloudwatch:namespace" = ["/aws/sagemaker/Endpoints", "/aws/sagemaker/InferenceComponents"] } }
    },
    { actions = ["s3:GetObject"], resources = [for item in var.endpoints : "arn:${var.partition}:s3:::${item.model_data}" if item.model_data != ""], condition = {} },
    # Not only with an asynchronous endpoint: Batch Transform jobs read and write there too.
    { actions = ["s3:GetObject"], resources = [local.objects.async_input], condition = {} },
    { actions = ["s3:AbortMultipartUpload", "s3:PutObject"], resources = [local.objects.async_output], condition = {} },
    {
      actions   = ["sns:Publish"]
      resources = length(local.async) == 0 ? [] : ["${local.topics}:${var.name}-async-done", "${local.topics}:${var.name}-async-failed"]
      condition = {}
    },
  ]

  batch_execution = [
    local.registry_login,
    local.pull_images,
    { actions = ["logs:CreateLogStream"], resources = ["${local.logs}:${var.log_group_prefix}/batch"], condition = {} },
    { actions = ["logs:PutLogEvents"], resources = ["${local.logs}:${var.log_group_prefix}/batch:log-stream:*"], condition = {} },
  ]

  webapp = [
    { actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"], resources = [local.objects.uploads], condition = {} },
    local.invoke,
    local.invoke_async,
    { actions = ["s3:PutObject"], resources = local.async_places, condition = {} },
    { actions = ["s3:GetObject"], resources = local.async_answers, condition = {} },
  ]

  github = [
    local.registry_login,
    {
      actions = concat(local.pull_images.actions, [
        "ecr:CompleteLayerUpload", "ecr:DescribeImages", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
      ])
      resources = values(local.repositories)
      condition = {}
    },
    { actions = ["sagemaker:DescribeEndpoint"], resources = values(local.endpoints), condition = {} },
    local.invoke,
  ]

  kms_actions = { actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = [var.kms_key_arn], condition = {} }

  statements = merge(
    local.services,
    { sagemaker = local.sagemaker_role, "batch-execution" = local.batch_execution },
    { for role in ["webapp"] : role => local.webapp if length(var.webapp_principals) > 0 },
    { for role in ["github"] : role => local.github if var.github_repository != "" },
  )
  reads_or_writes = [for role in keys(local.statements) : role if !contains(["batch-execution", "github"], role)]

  policies = {
    for role, items in local.statements : role => jsonencode({
      Version = "2012-10-17"
      Statement = [
        for item in items : merge(
          { Effect = "Allow", Action = item.actions, Resource = item.resources },
          { for key in ["Condition"] : key => item.condition if length(item.condition) > 0 },
        ) if length(item.resources) > 0
      ]
    })
  }
}
