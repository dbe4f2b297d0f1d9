// dashlint holds dashboards against the rules of Grafana's dashboard-linter, and exits 1 when one is broken, be it a warning.
//
//	dashlint FILE.json ...
//
// The linter's rules are a library. Its own command needs modules that the Go proxy no longer has in a version that fits.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/dashboard-linter/lint"
)

func main() {
	rules := lint.NewRuleSet()
	broken := len(os.Args) < 2
	for _, path := range os.Args[1:] {
		for _, finding := range findings(rules, path) {
			fmt.Printf("%s: %s\n", path, finding)
			broken = true
		}
	}
	if broken {
		os.Exit(1)
	}
	fmt.Printf("%d rules hold in %d files\n", len(rules.Rules()), len(os.Args)-1)
}

func findings(rules lint.RuleSet, path string) []string {
	content, err := os.ReadFile(path)
	if err != nil {
		return []string{err.Error()}
	}
	dashboard, err := lint.NewDashboard(content)
	if err != nil {
		return []string{err.Error()}
	}
	results, err := rules.Lint([]lint.Dashboard{dashboard})
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for name, contexts := range results.ByRule() {
		for _, context := range contexts {
			for _, result := range context.Result.Results {
				if result.Severity >= lint.Warning {
					out = append(out, name+": "+result.Message)
				}
			}
		}
	}
	return out
}
