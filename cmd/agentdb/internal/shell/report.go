package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/agentdb/agentdb"
)

// report writes an error, and where in the statement it is if that is known.
func (s *Shell) report(in source, err error, text string) {
	message := strings.TrimPrefix(err.Error(), "agentdb: ")
	var e *agentdb.Error
	if errors.As(err, &e) {
		message = fmt.Sprintf("%s (%s)", e.Message, e.Name)
	} else if errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	fmt.Fprintf(s.cfg.Err, "%s %s%s\n", s.look.red("error:"), in.place(), message)
	if e != nil && e.Offset >= 0 && e.Offset <= len(text) && strings.HasPrefix(text, e.SQL) {
		fmt.Fprint(s.cfg.Err, pointAt(text, e.Offset))
	}
}

// pointAt returns the line of text that has an offset, and a caret below it.
func pointAt(text string, offset int) string {
	begin := strings.LastIndexByte(text[:offset], '\n') + 1
	line, _, _ := strings.Cut(text[begin:], "\n")
	before := text[begin:offset]
	// A window of the line, if it is long.
	const most = 100
	if textWidth(before) > most-20 {
		runes := []rune(before)
		before = "…" + string(runes[max(0, len(runes)-most/2):])
	}
	after := []rune(line[offset-begin:])
	tail := string(after[:min(len(after), most/2)])
	if len(after) > most/2 {
		tail += "…"
	}
	before = printable(before)
	return fmt.Sprintf("  %s%s\n  %s^\n", before, printable(tail), strings.Repeat(" ", textWidth(before)))
}

// interruptible returns a context that Ctrl-C at an interactive shell ends.
func (s *Shell) interruptible(ctx context.Context) (context.Context, func()) {
	if !s.cfg.Interactive {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, os.Interrupt)
}
