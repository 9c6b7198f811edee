// Package shell is the SQL shell of the agentdb command: statements and
// commands from a terminal or a pipe, results as tables or for programs.
package shell

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/agentdb/agentdb"
)

// ErrFailed is returned by Run when a statement failed and that has been said.
var ErrFailed = errors.New("a statement failed")

// Config is what a shell needs.
type Config struct {
	DB   *agentdb.DB
	Name string // of the database, for the greeting

	In       io.Reader
	Out, Err io.Writer
	// Interactive says that In and Out are the process's terminal: there are
	// prompts and line editing, and errors don't end the shell.
	Interactive bool
	Color       bool
	Width       int    // of the terminal, in columns; 0 if there is none
	Mode        string // output mode, table by default
	// HistoryFile keeps the lines of interactive shells; none if empty.
	HistoryFile string

	// Sync syncs the database and tells what came of it; nil if it isn't synced.
	Sync func(context.Context) (string, error)
	// Status tells about the sync; nil if the database isn't synced.
	Status func() string
	// AfterWrite, if any, is called after a write outside of transactions.
	AfterWrite func(context.Context) error
}

// Shell runs statements on one connection, so that transactions may span them.
type Shell struct {
	cfg  Config
	look look
	out  *bufio.Writer
	conn *sql.Conn
	mode string
	inTx bool // as far as the statements' first words tell
	done bool // .quit was said
}

// Run reads and runs statements until the input ends. Unless interactive, it
// stops at the first error, which it has written then, and returns ErrFailed.
func Run(ctx context.Context, cfg Config) error {
	conn, err := cfg.DB.SQL().Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := &Shell{
		cfg:  cfg,
		look: look{color: cfg.Color, width: cfg.Width},
		out:  bufio.NewWriterSize(cfg.Out, 32<<10),
		conn: conn,
		mode: cfg.Mode,
	}
	if s.mode == "" {
		s.mode = modes()[0]
	}
	defer s.out.Flush()
	if !cfg.Interactive {
		return s.run(ctx, newPipe(cfg.In, ""))
	}
	term, err := newTerminal(cfg.HistoryFile, s.complete)
	if err != nil {
		return err
	}
	defer term.close()
	fmt.Fprintf(s.out, "agentdb: %s. SQL ends with a semicolon; .help lists commands, .quit leaves.\n", cfg.Name)
	return s.run(ctx, term)
}

// run runs what a source of lines gives.
func (s *Shell) run(ctx context.Context, in source) error {
	var text string // the lines of a statement that isn't complete
	for !s.done {
		if err := s.out.Flush(); err != nil {
			return err
		}
		line, err := in.read(s.prompt(text != ""))
		switch {
		case errors.Is(err, errAborted):
			text = ""
			continue
		case errors.Is(err, io.EOF):
			if blank(text) {
				return nil
			}
			return s.step(ctx, in, text) // without its semicolon
		case err != nil:
			return err
		}
		if text == "" && strings.HasPrefix(strings.TrimSpace(line), ".") {
			in.remember(line)
			if err := s.step(ctx, in, strings.TrimSpace(line)); err != nil {
				return err
			}
			continue
		}
		if text, err = s.statements(ctx, in, text+line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// statements runs the complete statements in text and returns what is left.
func (s *Shell) statements(ctx context.Context, in source, text string) (rest string, err error) {
	for {
		n := endOfStatement(text)
		if n < 0 {
			break
		}
		if !blank(text[:n]) {
			in.remember(strings.TrimSpace(text[:n]))
			if err := s.step(ctx, in, strings.TrimSpace(text[:n])); err != nil {
				return "", err
			}
		}
		text = text[n:]
	}
	if blank(text) {
		text = ""
	}
	return text, nil
}

// step runs one statement or command. An error is written here, and returned
// only if the shell must stop.
func (s *Shell) step(ctx context.Context, in source, text string) error {
	ctx, stop := s.interruptible(ctx)
	defer stop()
	var err error
	if strings.HasPrefix(text, ".") {
		err = s.command(ctx, text)
	} else {
		err = s.execute(ctx, text)
	}
	if ferr := s.out.Flush(); err == nil {
		err = ferr
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrFailed) { // written by a nested run otherwise
		s.report(in, err, text)
	}
	if s.cfg.Interactive && !in.piped() {
		return nil
	}
	return ErrFailed
}

func (s *Shell) prompt(more bool) string {
	switch {
	case more:
		return "    ...> "
	case s.inTx:
		return "agentdb*> "
	default:
		return "agentdb> "
	}
}

// note tells the person at the terminal something that a program doesn't want.
func (s *Shell) note(format string, args ...any) {
	if s.cfg.Interactive {
		fmt.Fprintln(s.out, s.look.dim(fmt.Sprintf(format, args...)))
	}
}
