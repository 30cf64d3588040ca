// What an operator sees and is told: the workbook, the alerts (docs/monitoring.md has a runbook for each) and a call of
// the readiness check from outside.
param location string
param tags object
param workspaceId string
param componentId string
param actionGroupId string

@description('Where the app is, without a path.')
param appUrl string
param appPrincipalId string
param erasurePrincipalId string

@description('Where the pages of docs/ are read. Empty: alerts name the page alone.')
param runbooks string

var rewritten = replace(replace(loadTextContent('queries/trail_rewritten.kql'), '{erasurePrincipal}', erasurePrincipalId), '{appPrincipal}', appPrincipalId)

// Severity: 0 promises of the product are broken, 1 people cannot work, 2 it will come to that, 3 worth a look.
// `lookback` reaches further back than the last time by ten minutes: rows come up to minutes after their time, those of
// Cosmos DB later, and one that came after its window was looked at would never be seen.
var alerts = [
  { name: 'integrity-failure', title: 'The ledger does not confirm what is stored', severity: 0, minutes: 5, lookback: 'PT15M', above: 0, query: loadTextContent('queries/integrity_failure.kql') }
  { name: 'trail-rewritten', title: 'Stored events were replaced or deleted', severity: 0, minutes: 5, lookback: 'PT1H', above: 0, query: rewritten }
  { name: 'audit-write-failures', title: 'Events cannot be written to the trail', severity: 1, minutes: 5, lookback: 'PT15M', above: 0, query: loadTextContent('queries/audit_write_failures.kql') }
  { name: 'not-ready', title: 'The app is not ready', severity: 1, minutes: 5, lookback: 'PT15M', above: 3, query: loadTextContent('queries/not_ready.kql') }
  { name: 'error-rate', title: 'More than 0.1 % of calls are answered 5xx', severity: 1, minutes: 5, lookback: 'PT15M', above: json('0.1'), query: loadTextContent('queries/error_rate.kql') }
  { name: 'secrets-unreachable', title: 'The vault does not answer', severity: 1, minutes: 5, lookback: 'PT15M', above: 5, query: loadTextContent('queries/secrets_unreachable.kql') }
  { name: 'feed-silent', title: 'The change feed is not consumed', severity: 1, minutes: 5, lookback: 'PT30M', above: 0, query: loadTextContent('queries/feed_silent.kql') }
  { name: 'sealing-lag', title: 'Events wait more than 5 minutes to be sealed', severity: 2, minutes: 5, lookback: 'PT15M', above: 300, query: loadTextContent('queries/sealing_lag.kql') }
  { name: 'dead-letters', title: 'A consumer could not handle an event', severity: 2, minutes: 5, lookback: 'PT15M', above: 0, query: loadTextContent('queries/dead_letters.kql') }
  { name: 'outbox-stuck', title: 'An outbox entry cannot be delivered', severity: 2, minutes: 5, lookback: 'PT15M', above: 0, query: loadTextContent('queries/outbox_stuck.kql') }
  { name: 'outbox-age', title: 'Outbox entries are older than 10 minutes', severity: 2, minutes: 5, lookback: 'PT15M', above: 600, query: loadTextContent('queries/outbox_age.kql') }
  { name: 'timers-silent', title: 'A timer does not run', severity: 2, minutes: 15, lookback: 'PT30M', above: 0, query: loadTextContent('queries/timers_silent.kql') }
  { name: 'function-failures', title: 'Timers or consumers fail again and again', severity: 2, minutes: 15, lookback: 'PT1H', above: 5, query: loadTextContent('queries/function_failures.kql') }
  { name: 'report-failures', title: 'A report could not be built', severity: 2, minutes: 60, lookback: 'PT2H', above: 0, query: loadTextContent('queries/report_failures.kql') }
  { name: 'throttling', title: 'Cosmos DB refuses more than 5 % of requests', severity: 2, minutes: 5, lookback: 'PT15M', above: 5, query: loadTextContent('queries/throttling.kql') }
  { name: 'latency', title: 'The 95th percentile of calls is above 1 second', severity: 2, minutes: 5, lookback: 'PT15M', above: 1000, query: loadTextContent('queries/latency.kql') }
  { name: 'refused-calls', title: 'Five times as many calls as usual are refused', severity: 3, minutes: 15, lookback: 'P1D', above: 5, query: loadTextContent('queries/refused_calls.kql') }
  { name: 'login-failures', title: 'Five times as many sign-ins as usual fail', severity: 3, minutes: 15, lookback: 'P1D', above: 5, query: loadTextContent('queries/login_failures.kql') }
  { name: 'streams-paused', title: 'Events no longer reach a webhook', severity: 3, minutes: 15, lookback: 'PT30M', above: 0, query: loadTextContent('queries/streams_paused.kql') }
  { name: 'critical-threats', title: 'A critical threat alert was raised', severity: 3, minutes: 5, lookback: 'PT15M', above: 0, query: loadTextContent('queries/critical_threats.kql') }
]

resource alert 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for each in alerts: {
  name: 'kraftd-${each.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: each.title
    description: 'Runbook: ${runbooks}docs/monitoring.md#${each.name}'
    severity: each.severity
    enabled: true
    autoMitigate: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT${each.minutes}M'
    windowSize: each.lookback
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: each.query
          metricMeasureColumn: 'Value'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: each.above
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: { runbook: '${runbooks}docs/monitoring.md#${each.name}' }
    }
  }
}]

resource readiness 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'kraftd-readiness'
  location: location
  tags: union(tags, { 'hidden-link:${componentId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'kraftd-readiness'
    Name: 'kraftd-readiness'
    Kind: 'standard'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'us-va-ash-azr' }
      { Id: 'apac-sg-sin-azr' }
    ]
    Request: { RequestUrl: '${appUrl}/api/v1/health/ready', HttpVerb: 'GET', ParseDependentRequests: false }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 14 }
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'kraftd-workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Kraftd Audit'
    category: 'workbook'
    version: '1.0'
    sourceId: workspaceId
    serializedData: loadTextContent('workbook.json')
  }
}
