// What searches ask for can be a person's e-mail and stands in the query of a URL. The host leaves queries out of its
// telemetry; here they are cut off once more before anything is kept, as is what Azure makes of a caller's address and
// program: place, browser, system.
param workspaceName string
param location string
param tags object
param retentionDays int

resource rule 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {
  name: '${workspaceName}-url-queries'
  location: location
  tags: tags
  kind: 'WorkspaceTransforms'
  properties: {
    destinations: {
      logAnalytics: [ { name: 'workspace', workspaceResourceId: resourceId('Microsoft.OperationalInsights/workspaces', workspaceName) } ]
    }
    dataFlows: [
      {
        streams: [ 'Microsoft-Table-AppRequests' ]
        destinations: [ 'workspace' ]
        transformKql: 'source | extend Url = tostring(split(Url, "?")[0]) | project-away ClientBrowser, ClientCity, ClientIP, ClientModel, ClientOS, ClientStateOrProvince'
      }
    ]
  }
}

// The workspace of telemetry.bicep, which has to be there before the rule can name it.
resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    defaultDataCollectionRuleResourceId: rule.id
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}
