package shell

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// renderer writes a result in one of the modes.
type renderer interface {
	row(values []any) error
	end() error
}

// modes are the names of the output modes, the default first.
func modes() []string { return []string{"table", "csv", "json", "line", "list"} }

// newRenderer returns the renderer of a mode, which must be one of modes.
func newRenderer(mode string, w *bufio.Writer, columns []string, look look) renderer {
	switch mode {
	case "csv":
		c := &csvRenderer{w: csv.NewWriter(w)}
		c.err = c.w.Write(columns)
		return c
	case "json":
		return &jsonRenderer{w: w, columns: columns}
	case "line":
		return &lineRenderer{w: w, columns: columns, look: look}
	case "list":
		return &listRenderer{w: w}
	default:
		return &tableRenderer{w: w, columns: columns, look: look}
	}
}

type csvRenderer struct {
	w   *csv.Writer
	err error
}

func (c *csvRenderer) row(values []any) error {
	record := make([]string, len(values))
	for i, v := range values {
		record[i] = plain(v)
	}
	if c.err == nil {
		c.err = c.w.Write(record)
	}
	return c.err
}

func (c *csvRenderer) end() error {
	c.w.Flush()
	return c.w.Error()
}

// listRenderer writes values with a bar between them, without a header.
type listRenderer struct{ w *bufio.Writer }

func (l *listRenderer) row(values []any) error {
	for i, v := range values {
		if i > 0 {
			_ = l.w.WriteByte('|') // a bufio.Writer keeps its first error
		}
		_, _ = l.w.WriteString(plain(v))
	}
	return l.w.WriteByte('\n')
}

func (*listRenderer) end() error { return nil }

// lineRenderer writes one value per line, for rows too wide for a table.
type lineRenderer struct {
	w       *bufio.Writer
	columns []string
	look    look
	rows    int
}

func (l *lineRenderer) row(values []any) error {
	if l.rows++; l.rows > 1 {
		_ = l.w.WriteByte('\n') // a bufio.Writer keeps its first error
	}
	width := 0
	for _, c := range l.columns {
		width = max(width, textWidth(c))
	}
	for i, v := range values {
		name := l.columns[i]
		_, _ = fmt.Fprintf(l.w, "%s%s = ", strings.Repeat(" ", width-textWidth(name)), name)
		for j, line := range display(v) {
			if j > 0 {
				_, _ = fmt.Fprintf(l.w, "%s   ", strings.Repeat(" ", width))
			}
			if v == nil {
				line = l.look.dim(line)
			}
			_, _ = fmt.Fprintln(l.w, line)
		}
	}
	return nil
}

func (*lineRenderer) end() error { return nil }

// jsonRenderer writes an array of objects. Blobs are base64, as everywhere in
// Go; infinities are null, since JSON has none.
type jsonRenderer struct {
	w       *bufio.Writer
	columns []string
	rows    int
}

func (j *jsonRenderer) row(values []any) error {
	lead := ",\n "
	if j.rows++; j.rows == 1 {
		lead = "["
	}
	_, _ = j.w.WriteString(lead) // a bufio.Writer keeps its first error
	for i, v := range values {
		switch x := v.(type) {
		case float64:
			if math.IsInf(x, 0) {
				v = nil
			}
		case time.Time:
			v = plain(x)
		}
		name, err := json.Marshal(j.columns[i])
		if err != nil {
			return err
		}
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		open := ","
		if i == 0 {
			open = "{"
		}
		_, _ = fmt.Fprintf(j.w, "%s%s:%s", open, name, text)
	}
	return j.w.WriteByte('}')
}

func (j *jsonRenderer) end() error {
	if j.rows == 0 {
		_ = j.w.WriteByte('[') // a bufio.Writer keeps its first error
	}
	_, err := j.w.WriteString("]\n")
	return err
}

func isMode(s string) bool { return slices.Contains(modes(), s) }
