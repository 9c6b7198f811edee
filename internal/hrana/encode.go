package hrana

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// sink takes what the steps of a batch answer, in order. A step's begin is
// followed by its rows and end; fail takes back what came since begin.
type sink interface {
	begin(step int, cols []tenant.Column)
	row(vals []sqlite.Value)
	end(step int, res tenant.Result)
	fail(step int, err *Error)
	skip(step int)
	size() int // bytes so far
}

// resultSink is the sink of execute and batch.
type resultSink interface {
	sink
	failure() *Error // of the last step that failed
}

// entrySink makes the entries of a cursor. What was taken is not taken back by
// fail.
type entrySink interface {
	sink
	undo()            // takes back what came since begin
	take() []byte     // returns the entries that were not taken yet
	fatal(err *Error) // is the last entry
}

func newEntries(f Format) entrySink {
	if f == Protobuf {
		return &protoEntries{}
	}
	return &entries{}
}

// results is the sink of execute and batch: a JSON array of results, and the
// errors beside it.
type results struct {
	buf    []byte
	mark   int
	rows   int
	steps  int
	errors []*Error
}

func (r *results) size() int { return len(r.buf) }

// next begins the next result.
func (r *results) next() {
	if r.steps++; r.steps > 1 {
		r.buf = append(r.buf, ',')
	}
	r.mark = len(r.buf)
}

func (r *results) begin(_ int, cols []tenant.Column) {
	r.next()
	r.rows = 0
	r.buf = append(r.buf, `{"cols":`...)
	r.buf = appendColumns(r.buf, cols)
	r.buf = append(r.buf, `,"rows":[`...)
}

func (r *results) row(vals []sqlite.Value) {
	if r.rows++; r.rows > 1 {
		r.buf = append(r.buf, ',')
	}
	r.buf = appendRow(r.buf, vals)
}

func (r *results) end(_ int, res tenant.Result) {
	r.buf = append(r.buf, ']', ',')
	r.buf = append(appendUsage(appendOutcome(r.buf, res), res), '}')
	r.errors = append(r.errors, nil)
}

// fail is called with or without a begin before it.
func (r *results) fail(step int, err *Error) {
	if r.steps == step {
		r.next()
	}
	r.buf = append(r.buf[:r.mark], "null"...)
	r.errors = append(r.errors, err)
}

func (r *results) failure() *Error { return r.errors[len(r.errors)-1] }

func (r *results) skip(int) {
	r.next()
	r.buf = append(r.buf, "null"...)
	r.errors = append(r.errors, nil)
}

// appendErrors appends the array of errors.
func (r *results) appendErrors(b []byte) []byte {
	b = append(b, '[')
	for i, e := range r.errors {
		if i > 0 {
			b = append(b, ',')
		}
		if e == nil {
			b = append(b, "null"...)
		} else {
			b = appendError(b, e)
		}
	}
	return append(b, ']')
}

// entries is the sink of a cursor: JSON objects, each on a line.
type entries struct {
	buf  []byte
	mark int // where the present step begins
	open bool
}

func (c *entries) size() int { return len(c.buf) }

func (c *entries) take() []byte {
	b := c.buf
	c.buf, c.open = nil, false
	return b
}

func (c *entries) undo() {
	if c.open {
		c.buf, c.open = c.buf[:c.mark], false
	}
}

func (c *entries) begin(step int, cols []tenant.Column) {
	c.mark, c.open = len(c.buf), true
	c.buf = append(c.buf, `{"type":"step_begin","step":`...)
	c.buf = strconv.AppendInt(c.buf, int64(step), 10)
	c.buf = append(c.buf, `,"cols":`...)
	c.buf = appendColumns(c.buf, cols)
	c.buf = append(c.buf, '}', '\n')
}

func (c *entries) row(vals []sqlite.Value) {
	c.buf = append(c.buf, `{"type":"row","row":`...)
	c.buf = appendRow(c.buf, vals)
	c.buf = append(c.buf, '}', '\n')
}

func (c *entries) end(_ int, res tenant.Result) {
	c.open = false
	c.buf = append(c.buf, `{"type":"step_end",`...)
	c.buf = appendOutcome(c.buf, res)
	c.buf = append(c.buf, '}', '\n')
}

func (c *entries) fail(step int, err *Error) {
	c.undo()
	c.buf = append(c.buf, `{"type":"step_error","step":`...)
	c.buf = strconv.AppendInt(c.buf, int64(step), 10)
	c.buf = append(c.buf, `,"error":`...)
	c.buf = appendError(c.buf, err)
	c.buf = append(c.buf, '}', '\n')
}

func (c *entries) fatal(err *Error) {
	c.undo()
	c.buf = append(c.buf, `{"type":"error","error":`...)
	c.buf = append(appendError(c.buf, err), '}', '\n')
}

func (c *entries) skip(int) {}

func appendColumns(b []byte, cols []tenant.Column) []byte {
	b = append(b, '[')
	for i, c := range cols {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendColumn(b, c)
	}
	return append(b, ']')
}

func appendColumn(b []byte, c tenant.Column) []byte {
	b = append(b, `{"name":`...)
	b = appendString(b, c.Name)
	b = append(b, `,"decltype":`...)
	if c.DeclType == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, c.DeclType)
	}
	return append(b, '}')
}

func appendRow(b []byte, vals []sqlite.Value) []byte {
	b = append(b, '[')
	for i := range vals {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, vals[i])
	}
	return append(b, ']')
}

// appendValue appends a value. An infinity, which JSON doesn't have, becomes a
// number that is too large: JavaScript takes it for one. Base64 is not padded:
// libsql-client-go can't read padding.
func appendValue(b []byte, v sqlite.Value) []byte {
	switch v.Kind {
	case sqlite.KindInteger:
		b = append(b, `{"type":"integer","value":"`...)
		b = strconv.AppendInt(b, v.I, 10)
		return append(b, '"', '}')
	case sqlite.KindFloat:
		b = append(b, `{"type":"float","value":`...)
		return append(appendFloat(b, v.Float()), '}')
	case sqlite.KindText:
		b = append(b, `{"type":"text","value":`...)
		return append(appendString(b, v.B), '}')
	case sqlite.KindBlob:
		b = append(b, `{"type":"blob","base64":"`...)
		b = base64.RawStdEncoding.AppendEncode(b, v.B)
		return append(b, '"', '}')
	}
	return append(b, `{"type":"null"}`...)
}

func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, "1e999"...)
	case math.IsInf(f, -1):
		return append(b, "-1e999"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

func appendOutcome(b []byte, res tenant.Result) []byte {
	b = append(b, `"affected_row_count":`...)
	b = strconv.AppendInt(b, res.Affected, 10)
	b = append(b, `,"last_insert_rowid":`...)
	if !res.Wrote {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, res.LastID, 10)
	return append(b, '"')
}

func appendUsage(b []byte, res tenant.Result) []byte {
	b = append(b, `,"rows_read":`...)
	b = strconv.AppendUint(b, res.RowsRead, 10)
	b = append(b, `,"rows_written":`...)
	return strconv.AppendUint(b, res.RowsWritten, 10)
}

func appendError(b []byte, e *Error) []byte {
	b = append(b, `{"message":`...)
	b = appendString(b, e.Message)
	b = append(b, `,"code":`...)
	b = appendString(b, e.Code)
	return append(b, '}')
}

func appendDescription(b []byte, d *tenant.Description) []byte {
	b = append(b, `{"params":[`...)
	for i, p := range d.Params {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		if p == "" {
			b = append(b, "null"...)
		} else {
			b = appendString(b, p)
		}
		b = append(b, '}')
	}
	b = append(b, `],"cols":`...)
	b = appendColumns(b, d.Columns)
	b = append(b, `,"is_explain":`...)
	b = strconv.AppendBool(b, d.Explain)
	b = append(b, `,"is_readonly":`...)
	b = strconv.AppendBool(b, d.ReadOnly)
	return append(b, '}')
}

// appendString appends a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendString[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			n := runeLen(s, i)
			if n == 0 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				n = 1
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// runeLen returns the length of the rune at s[i], 0 if it is none.
func runeLen[T string | []byte](s T, i int) int {
	var p [utf8.UTFMax]byte
	n := copy(p[:], s[i:min(len(s), i+utf8.UTFMax)])
	r, size := utf8.DecodeRune(p[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}
