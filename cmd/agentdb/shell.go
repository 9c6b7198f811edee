package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/cmd/agentdb/internal/shell"
)

// shellCmd is "agentdb shell".
type shellCmd struct {
	Target string `arg:"" name:"file|url" help:"A database file, made if there is none, or the URL of a server's database."`
	SQL    string `arg:"" optional:"" help:"Statements to run instead of those on standard input."`
	Token  string `env:"AGENTDB_TOKEN" help:"Token for the server."`
	Mode   string `enum:"table,csv,json,line,list" default:"table" help:"How results are written: ${enum}."`
}

// Run implements the command.
func (s *shellCmd) Run(c *console) (err error) {
	interactive := s.SQL == "" && isTerminal(c.in) && isTerminal(c.out)
	signals := []os.Signal{syscall.SIGTERM}
	if !interactive { // Ctrl-C at a prompt only ends the statement
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	cfg := shell.Config{
		Name: s.Target, In: c.in, Out: c.out, Err: c.err,
		Interactive: interactive, Mode: s.Mode, HistoryFile: historyFile(),
	}
	if s.SQL != "" {
		cfg.In = strings.NewReader(s.SQL)
	}
	if isTerminal(c.out) {
		cfg.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		cfg.Width, _, _ = term.GetSize(int(c.out.(*os.File).Fd())) // 0, no limit, if it is unknown
	}
	db, err := s.open(ctx, &cfg)
	if err != nil {
		return err
	}
	cfg.DB = db
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	return shell.Run(ctx, cfg)
}

// open opens a file, or a replica of a server's database.
func (s *shellCmd) open(ctx context.Context, _ *shell.Config) (*agentdb.DB, error) {
	if !isURL(s.Target) {
		return agentdb.Open(ctx, s.Target, nil)
	}
	return nil, fmt.Errorf("%s: not there yet", s.Target)
}

func isURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (scheme == "http" || scheme == "https" || scheme == "libsql")
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// historyFile is where interactive shells keep their lines; "" if the user has
// no place for it.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "agentdb", "shell_history")
}
