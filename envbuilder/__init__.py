"""Makes environments: scenario, documents, integration, scaling, deployment."""
