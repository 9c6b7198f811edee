// Command agentdb is the one binary: the server, its tokens, a shell, and a client
// of the Platform API.
//
//	agentdb serve [--listen 127.0.0.1:8080] [--data ./agentdb-data] [--dev]
//	agentdb token create NAME [--access full|read|push|pull] [--expires 24h]
//	agentdb token api NAME [--data ./agentdb-data]
//	agentdb token list|revoke
//	agentdb shell FILE|URL
//	agentdb backup create|check|restore
//	agentdb inspect NAME|URL|FILE
//	agentdb db create|list|show|shell|fork|restore|export|import|config|usage|tokens|destroy
//	agentdb group create|list|config|tokens|destroy
//	agentdb org list|create|members|destroy
//	agentdb audit
//	agentdb config show|set|unset
//	agentdb completion bash|zsh|fish
//	agentdb health [--listen 127.0.0.1:8080]
//	agentdb version
//
// The commands db, group, org, audit, inspect and backup create find the server by --api-url and
// --api-token, by AGENTDB_API_URL, AGENTDB_API_TOKEN and AGENTDB_ORG, or by what
// "agentdb config set" keeps in settings.json, in this order. With
// --json they write for programs. What can't be undone is asked for on a
// terminal, and needs --yes elsewhere.
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
	Serve  serveCmd  `cmd:"" help:"Serve databases over HTTP."`
	Token  tokenCmd  `cmd:"" help:"Make tokens with the keys in a server's data directory; list and void those for the Platform API."`
	Shell  shellCmd  `cmd:"" help:"Run SQL on a file, or on a server's database."`
	Backup backupCmd `cmd:"" help:"Back up a server, and check backups."`

	DB    dbCmd    `cmd:"" name:"db" help:"Make, fork, restore, export and delete databases."`
	Group groupCmd `cmd:"" help:"Manage groups of databases."`
	Org   orgCmd   `cmd:"" help:"Manage organizations and their members."`
	Audit auditCmd `cmd:"" help:"Show who did what."`

	Inspect    inspectCmd    `cmd:"" help:"Show the tables of a database, their rows and sizes."`
	Config     configCmd     `cmd:"" help:"Keep the server's address, a token and an organization for other commands."`
	Completion completionCmd `cmd:"" help:"Print a script that completes command lines."`
	Health     healthCmd     `cmd:"" help:"Ask the server of this machine whether it is ready."`

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
		kong.Resolvers(settingsResolver()),
		kong.Bind(c),
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	if len(args) > 0 && args[0] == completeWord {
		complete(parser.Model, args[1:], c)
		return 0
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
		fmt.Fprintf(c.err, "agentdb: %s\n", explain(err))
		return 1
	}
}
