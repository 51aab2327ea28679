// Command promlint reads a scrape and prints what Prometheus's linter of metrics (client_golang's testutil/promlint, which promtool
// uses too) has against it, a line a problem.
//
// Exit status: 0 nothing, 1 something, 3 a scrape that cannot be read.
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func main() {
	problems, err := promlint.New(os.Stdin).Lint()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	for _, problem := range problems {
		fmt.Printf("%s: %s\n", problem.Metric, problem.Text)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}
