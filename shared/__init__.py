"""The domain of Kraftd Audit: everything but triggers. Layers and their order: docs/architecture.md."""
