output "name" {
  description = "Name of the cluster."
  value       = aws_eks_cluster.main.name
}

output "endpoint" {
  description = "Address of its API."
  value       = aws_eks_cluster.main.endpoint
}

output "node_role" {
  description = "Name of the nodes' role: `role` of Karpenter's EC2NodeClass."
  value       = aws_iam_role.node.name
}

output "interruption_queue" {
  description = "Queue of interruptions: settings.interruptionQueue of Karpenter's chart."
  value       = aws_sqs_queue.karpenter.name
}
