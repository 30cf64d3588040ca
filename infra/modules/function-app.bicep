// One function app on a Flex Consumption plan of its own, with the storage of its package. Two are made of the same
// package: what they do is in APP_ROLE. The storage is apart, so that neither can replace the other's package.
param name string
param planName string
param storageName string
param location string
param tags object

@description('Name of the service in azure.yaml.')
param serviceName string

@allowed([ 'app', 'erasure' ])
param role string

@description('Whether anybody may call it over HTTP.')
param isOpen bool
param identityName string
param componentName string
param workspaceId string
param isZoneRedundant bool

@allowed([ 'Enabled', 'Disabled' ])
@description('Whether the storage answers outside of the virtual network.')
param publicAccess string

@description('Subnet that its calls go out through. Empty: none.')
param subnetId string

@minValue(40)
@maxValue(1000)
param maximumInstances int

@allowed([ 512, 2048, 4096 ])
param instanceMemory int = 2048

@description('App settings beside those that every app has.')
param settings object

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var packages = 'packages'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  //checkov:skip=CKV_AZURE_35:By parameter: it is closed to the internet where PRIVATE_NETWORK is true, and takes no shared key in any case
  //checkov:skip=CKV_AZURE_206:It holds the package and leases of timers, nothing that a deployment does not make again
  //checkov:skip=CKV_AZURE_43:The name is made of lower-case letters and digits and cut at 24, which the check cannot see
  name: take(storageName, 24)
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: isZoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' } // a region without zones has no ZRS
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    supportsHttpsTrafficOnly: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: publicAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: publicAccess == 'Disabled' ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 30 }
    containerDeleteRetentionPolicy: { enabled: true, days: 30 }
    isVersioningEnabled: true
  }
}

resource packageContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: packages
  properties: {
    publicAccess: 'None'
  }
}

resource mayUse 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, blobDataOwner)
  scope: storage
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
  }
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  //checkov:skip=CKV_AZURE_225:By parameter (ZONE_REDUNDANT): not every region has zones
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: isZoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  //checkov:skip=CKV_AZURE_222:The app is a public interface; the erasure app refuses every call by its access rule
  //checkov:skip=CKV_AZURE_17:Callers prove who they are with tokens and API keys, not with certificates
  //checkov:skip=CKV_AZURE_212:A Flex Consumption plan scales by itself and has no such setting
  //checkov:skip=CKV_AZURE_213:A Flex Consumption plan has no health check of its own; a web test calls the readiness check
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: identity.id
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemory
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      remoteDebuggingEnabled: false
      ipSecurityRestrictionsDefaultAction: isOpen ? 'Allow' : 'Deny'
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
      scmIpSecurityRestrictionsUseMain: false
    }
  }
  dependsOn: [ packageContainer, mayUse ]
}

resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource configured 'Microsoft.Web/sites/config@2025-03-01' = {
  //checkov:skip=CKV_AZURE_13:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_63:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_65:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_66:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_80:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_88:This resource is the app settings alone, which the check takes for the site configuration
  //checkov:skip=CKV_AZURE_222:This resource is the app settings alone, which the check takes for the site configuration
  parent: site
  name: 'appsettings'
  properties: union(settings, {
    APP_ROLE: role
    AZURE_CLIENT_ID: identity.properties.clientId
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identity.properties.clientId
    AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
    APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
    PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
    OTEL_DOTNET_EXPERIMENTAL_ASPNETCORE_DISABLE_URL_QUERY_REDACTION: 'false'
    OTEL_DOTNET_EXPERIMENTAL_HTTPCLIENT_DISABLE_URL_QUERY_REDACTION: 'false'
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: 'azure_sdk,django,fastapi,flask,httpx,httpx2,psycopg2,requests,urllib,urllib3'
  })
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: site
  properties: {
    workspaceId: workspaceId
    logs: [ { category: 'FunctionAppLogs', enabled: true } ]
    metrics: [ { category: 'AllMetrics', enabled: true } ]
  }
}

resource storageLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
output storageId string = storage.id
