package main

import (
	"fmt"
	"runtime"

	"github.com/agentdb/agentdb/server"
)

// versionCmd is "agentdb version".
type versionCmd struct {
	JSON bool `name:"json" help:"Write JSON, for programs."`
}

// Run implements the command.
func (v *versionCmd) Run(c *console) error {
	if v.JSON {
		return c.writeJSON(map[string]string{"version": server.Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	_, err := fmt.Fprintf(c.out, "agentdb %s %s %s/%s\n", server.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
