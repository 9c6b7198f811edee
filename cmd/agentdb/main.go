// Command agentdb is the one binary: the server, its tokens, and a shell.
//
//	agentdb serve [--listen 127.0.0.1:8080] [--data ./agentdb-data] [--dev]
//	agentdb token create NAME [--access full|read|push|pull] [--expires 24h]
//	agentdb shell FILE|URL
//	agentdb backup create|check
//	agentdb version
//
// It exits with 0, with 1 after an error, which is on standard error then, and
// with 2 if it was called wrongly.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/agentdb/agentdb/cmd/agentdb/internal/shell"
)

// cli is the command line.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Serve databases over HTTP."`
	Token   tokenCmd   `cmd:"" help:"Make access tokens for a server."`
	Shell   shellCmd   `cmd:"" help:"Run SQL on a file, or on a server's database."`
	Backup  backupCmd  `cmd:"" help:"Back up a server, and check backups."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// console is where a command reads and writes.
type console struct {
	in       *os.File
	out, err io.Writer
}

func main() {
	os.Exit(run(os.Args[1:], &console{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// exitCode is the panic that carries kong's wish to exit, after --help.
type exitCode int

// run runs a command line and returns the process's exit code.
func run(args []string, c *console) (code int) {
	defer func() {
		if v := recover(); v != nil {
			wish, ok := v.(exitCode)
			if !ok {
				panic(v)
			}
			code = int(wish)
		}
	}()
	var root cli
	parser, err := kong.New(&root,
		kong.Name("agentdb"),
		kong.Description("Databases for agents: SQLite files that sync."),
		kong.Writers(c.out, c.err),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.DefaultEnvars("AGENTDB"),
		kong.Bind(c),
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(c.err, "agentdb: %v\nRun 'agentdb --help' to see how it is used.\n", err)
		return 2
	}
	switch err := cmd.Run(); {
	case err == nil:
		return 0
	case errors.Is(err, shell.ErrFailed): // already said
		return 1
	default:
		fmt.Fprintf(c.err, "agentdb: %v\n", err)
		return 1
	}
}
