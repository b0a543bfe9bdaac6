"""SageMaker endpoints' life: packaged, deployed, looked at, scaled and deleted, by boto3."""
