"""Who the app is to Azure's services: one place, for every adapter that signs in."""

from azure.core.credentials_async import AsyncTokenCredential


def identify(client_id: str | None) -> AsyncTokenCredential:
    """The managed identity of that client id; without one, whoever is signed in on a developer's machine."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
