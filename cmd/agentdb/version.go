package main

import (
	"fmt"
	"runtime"

	"github.com/agentdb/agentdb/server"
)

// versionCmd is "agentdb version".
type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(c *console) error {
	_, err := fmt.Fprintf(c.out, "agentdb %s %s %s/%s\n", server.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
