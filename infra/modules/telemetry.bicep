// Where logs and metrics go, and who is told of alerts. Ingestion takes tokens of Entra ID only.
param workspaceName string
param componentName string
param actionGroupName string
param location string
param tags object

@minValue(30)
@maxValue(730)
param retentionDays int

@description('Addresses, separated by commas.')
param alertEmails string
param alertWebhook string

@description('Principals that may send telemetry.')
param publishers array

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'
var addresses = empty(alertEmails) ? [] : split(replace(alertEmails, ' ', ''), ',')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

module urlQueries 'url-queries.bicep' = {
  name: 'url-queries'
  params: {
    workspaceName: workspace.name
    location: location
    tags: tags
    retentionDays: retentionDays
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
    DisableIpMasking: false
  }
}

resource mayPublish 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for publisher in publishers: {
  name: guid(component.id, publisher, metricsPublisher)
  scope: component
  properties: {
    principalId: publisher
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'kraftd'
    enabled: true
    emailReceivers: [for (address, i) in addresses: {
      name: 'email-${i}'
      emailAddress: address
      useCommonAlertSchema: true
    }]
    webhookReceivers: empty(alertWebhook) ? [] : [ { name: 'webhook', serviceUri: alertWebhook, useCommonAlertSchema: true } ]
  }
}

output workspaceId string = workspace.id
output componentId string = component.id
output componentName string = component.name
output actionGroupId string = actionGroup.id
