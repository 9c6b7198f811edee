package shell

import (
	"bufio"
	"strings"

	"github.com/mattn/go-runewidth"
)

// look is how output looks on a terminal.
type look struct {
	color bool
	width int // columns of the terminal; 0: no terminal, no limit
}

func (l look) dim(s string) string {
	if !l.color {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

func (l look) red(s string) string {
	if !l.color {
		return s
	}
	return "\x1b[31m" + s + "\x1b[0m"
}

func (l look) bold(s string) string {
	if !l.color {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

func textWidth(s string) int { return runewidth.StringWidth(s) }

// measured is how many rows decide the widths of a table. Those after them are
// written as they come, so that a large result takes no memory.
const measured = 1000

// tableRenderer draws a table with boxes. A table wider than the terminal
// becomes lines, one per value.
type tableRenderer struct {
	w       *bufio.Writer
	columns []string
	look    look

	held   [][]cell
	values [][]any // of held, to fall back to lines
	widths []int   // nil until the head is drawn
	lines  *lineRenderer
}

// cell is a value ready to be drawn.
type cell struct {
	lines  []string
	number bool
	null   bool
}

func newCell(v any) cell {
	c := cell{lines: display(v), null: v == nil}
	switch v.(type) {
	case int64, float64:
		c.number = true
	}
	return c
}

func (t *tableRenderer) row(values []any) error {
	if t.lines != nil {
		return t.lines.row(values)
	}
	cells := make([]cell, len(values))
	for i, v := range values {
		cells[i] = newCell(v)
	}
	if t.widths != nil {
		return t.draw(cells)
	}
	t.held, t.values = append(t.held, cells), append(t.values, values)
	if len(t.held) < measured {
		return nil
	}
	return t.head()
}

func (t *tableRenderer) end() error {
	if t.lines == nil && t.widths == nil {
		if err := t.head(); err != nil {
			return err
		}
	}
	if t.lines != nil {
		return t.lines.end()
	}
	return t.rule("└", "┴", "┘")
}

// head decides the widths, and draws the head and the rows held so far.
func (t *tableRenderer) head() error {
	widths := make([]int, len(t.columns))
	numbers, others := make([]bool, len(t.columns)), make([]bool, len(t.columns))
	for i, c := range t.columns {
		widths[i] = textWidth(printable(c))
	}
	for _, cells := range t.held {
		for i, c := range cells {
			for _, line := range c.lines {
				widths[i] = max(widths[i], textWidth(line))
			}
			numbers[i] = numbers[i] || c.number
			others[i] = others[i] || !c.number && !c.null
		}
	}
	total := 1
	for _, w := range widths {
		total += w + 3
	}
	held, values := t.held, t.values
	t.held, t.values = nil, nil
	if t.look.width > 0 && total > t.look.width && len(t.columns) > 1 {
		t.lines = &lineRenderer{w: t.w, columns: t.columns, look: t.look}
		for _, v := range values {
			if err := t.lines.row(v); err != nil {
				return err
			}
		}
		return nil
	}
	t.widths = widths
	_ = t.rule("┌", "┬", "┐") // a bufio.Writer keeps its first error
	names := make([]cell, len(t.columns))
	for i, c := range t.columns {
		names[i] = cell{lines: []string{printable(c)}, number: numbers[i] && !others[i]}
	}
	_ = t.drawStyled(names, t.look.bold)
	if err := t.rule("├", "┼", "┤"); err != nil {
		return err
	}
	for _, cells := range held {
		if err := t.draw(cells); err != nil {
			return err
		}
	}
	return nil
}

func (t *tableRenderer) rule(left, cross, right string) error {
	parts := make([]string, len(t.widths))
	for i, w := range t.widths {
		parts[i] = strings.Repeat("─", w+2)
	}
	_, err := t.w.WriteString(t.look.dim(left+strings.Join(parts, cross)+right) + "\n")
	return err
}

func (t *tableRenderer) draw(cells []cell) error {
	return t.drawStyled(cells, func(s string) string { return s })
}

// drawStyled draws a row, which may take several lines.
func (t *tableRenderer) drawStyled(cells []cell, style func(string) string) error {
	height := 1
	for _, c := range cells {
		height = max(height, len(c.lines))
	}
	bar := t.look.dim("│")
	for n := range height {
		for i, c := range cells {
			text := ""
			if n < len(c.lines) {
				text = c.lines[n]
			}
			pad := strings.Repeat(" ", max(0, t.widths[i]-textWidth(text)))
			text = style(text)
			if c.null {
				text = t.look.dim(text)
			}
			if c.number {
				text, pad = pad+text, ""
			}
			_, _ = t.w.WriteString(bar + " " + text + pad + " ") // a bufio.Writer keeps its first error
		}
		if _, err := t.w.WriteString(bar + "\n"); err != nil {
			return err
		}
	}
	return nil
}
