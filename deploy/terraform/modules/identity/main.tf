resource "aws_iam_role" "role" {
  for_each = local.statements

  name               = "${var.name}-${each.key}"
  description        = "Simcloud: ${each.key}; docs/deploy/iam.md says what it may do and why"
  assume_role_policy = local.trust[each.key]

  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_role_policy" "role" {
  for_each = local.policies

  name   = "simcloud"
  role   = aws_iam_role.role[each.key].id
  policy = each.value
}

# Apart from the other policy, so that a key which is only being made leaves that one readable in a plan.
resource "aws_iam_role_policy" "kms" {
  for_each = toset(var.kms ? local.reads_or_writes : [])

  name = "kms"
  role = aws_iam_role.role[each.key].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = local.kms_actions.actions, Resource = local.kms_actions.resources }]
  })
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != "" && var.github_provider_arn == "" ? 1 : 0

  url            = "https://${local.github_host}"
  client_id_list = ["sts.amazonaws.com"]
}
