// The monitoring mixin: the rules and dashboards of this folder, as jsonnet-bundler and Prometheus mixins expect them.
// It imports the files that `make docs` writes, so it has nothing of its own to keep up to date.
{
  _config+:: {
    // Selects the scrape job of the agents in the alert on agents that are down. Dashboards have a variable for it.
    postwardSelector: 'job="postward"',
    // The folder of the runbooks, such as https://HOST:19787/runbooks of an agent.
    runbookUrl: 'https://github.com/postward/postward/blob/main/docs/runbooks',
  },

  local configured(text) = std.parseYaml(
    std.strReplace(
      std.strReplace(text, 'job="postward"', $._config.postwardSelector),
      'https://github.com/postward/postward/blob/main/docs/runbooks/',
      $._config.runbookUrl + '/'
    )
  ),

  prometheusAlerts+:: configured(importstr 'alerts/postward.rules.yml'),

  prometheusRules+:: configured(importstr 'alerts/postward.records.yml'),

  grafanaDashboards+:: {
    'postward-fleet.json': import 'dashboards/postward-fleet.json',
    'postward-host.json': import 'dashboards/postward-host.json',
  },
}
