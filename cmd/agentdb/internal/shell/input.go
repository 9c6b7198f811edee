package shell

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/peterh/liner"
)

// errAborted is returned by read when the line was given up with Ctrl-C.
var errAborted = errors.New("aborted")

// source gives the shell its lines.
type source interface {
	read(prompt string) (string, error) // without its end; io.EOF after the last
	remember(text string)               // adds to the history
	place() string                      // of the last line, for errors
	piped() bool                        // an error ends it
}

// pipe reads lines from a file or a pipe.
type pipe struct {
	r    *bufio.Reader
	name string // of a file, or ""
	line int
}

func newPipe(r io.Reader, name string) *pipe { return &pipe{r: bufio.NewReader(r), name: name} }

func (p *pipe) read(string) (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", err
	}
	p.line++
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func (*pipe) remember(string) {}

func (p *pipe) place() string {
	if p.name == "" {
		return fmt.Sprintf("line %d: ", p.line)
	}
	return fmt.Sprintf("%s:%d: ", p.name, p.line)
}

func (*pipe) piped() bool { return true }

// terminal reads lines from the process's terminal, with editing and history.
type terminal struct {
	state   *liner.State
	history string
}

func newTerminal(history string, complete func(string) []string) (*terminal, error) {
	t := &terminal{state: liner.NewLiner(), history: history}
	t.state.SetCtrlCAborts(true)
	t.state.SetTabCompletionStyle(liner.TabPrints)
	t.state.SetCompleter(complete)
	if history == "" {
		return t, nil
	}
	f, err := os.Open(history)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, errors.Join(err, t.state.Close())
	}
	defer f.Close()
	if _, err := t.state.ReadHistory(f); err != nil {
		return nil, errors.Join(fmt.Errorf("history %s: %w", history, err), t.state.Close())
	}
	return t, nil
}

func (t *terminal) read(prompt string) (string, error) {
	line, err := t.state.Prompt(prompt)
	if errors.Is(err, liner.ErrPromptAborted) {
		return "", errAborted
	}
	return line, err
}

// remember keeps a statement as one line if that is the same statement, and
// line by line if not.
func (t *terminal) remember(text string) {
	if line, ok := oneLine(text); ok {
		t.state.AppendHistory(line)
		return
	}
	for line := range strings.Lines(text) {
		t.state.AppendHistory(strings.TrimRight(line, "\r\n"))
	}
}

func (*terminal) place() string { return "" }
func (*terminal) piped() bool   { return false }

// close saves the history and gives the terminal back. A history that can't be
// saved is no reason to end with an error.
func (t *terminal) close() {
	defer t.state.Close()
	if t.history == "" || os.MkdirAll(filepath.Dir(t.history), 0o700) != nil {
		return
	}
	f, err := os.OpenFile(t.history, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = t.state.WriteHistory(f)
}
