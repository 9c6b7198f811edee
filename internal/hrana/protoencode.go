package hrana

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// protoResults is results in protobuf.
type protoResults struct {
	one    bool   // of execute: buf is a StmtResult; else the fields of a BatchResult
	buf    []byte // of the steps that ended
	cur    []byte // the StmtResult of the present step
	row1   []byte // scratch
	failed *Error // the last one
}

func (r *protoResults) size() int { return len(r.buf) + len(r.cur) }

func (r *protoResults) begin(_ int, cols []tenant.Column) {
	r.cur = r.cur[:0]
	for _, c := range cols {
		r.cur = appendMessage(r.cur, 1, protoColumn(c))
	}
}

func (r *protoResults) row(vals []sqlite.Value) {
	r.row1 = appendProtoRow(r.row1[:0], vals)
	r.cur = appendMessage(r.cur, 2, r.row1)
}

func (r *protoResults) end(step int, res tenant.Result) {
	r.cur = appendProtoOutcome(r.cur, 3, res)
	r.cur = appendNumber(appendNumber(r.cur, 6, res.RowsRead), 7, res.RowsWritten)
	if r.one {
		r.buf, r.cur = r.cur, nil
		return
	}
	r.buf = appendMessage(r.buf, 1, appendMessage(appendNumber(nil, 1, uint64(step)), 2, r.cur))
	r.cur = r.cur[:0]
}

func (r *protoResults) fail(step int, err *Error) {
	r.failed, r.cur = err, r.cur[:0]
	if !r.one {
		r.buf = appendMessage(r.buf, 2, appendMessage(appendNumber(nil, 1, uint64(step)), 2, protoError(err)))
	}
}

func (r *protoResults) skip(int) {}

func (r *protoResults) failure() *Error { return r.failed }

// protoEntries is entries in protobuf: messages, each after its length.
type protoEntries struct {
	buf  []byte
	mark int
	open bool
	row1 []byte // scratch
}

func (c *protoEntries) size() int { return len(c.buf) }

func (c *protoEntries) take() []byte {
	b := c.buf
	c.buf, c.open = nil, false
	return b
}

func (c *protoEntries) undo() {
	if c.open {
		c.buf, c.open = c.buf[:c.mark], false
	}
}

// add appends an entry with one field.
func (c *protoEntries) add(num protowire.Number, msg []byte) {
	c.buf = protowire.AppendBytes(c.buf, appendMessage(nil, num, msg))
}

func (c *protoEntries) begin(step int, cols []tenant.Column) {
	c.mark, c.open = len(c.buf), true
	msg := appendNumber(nil, 1, uint64(step))
	for _, col := range cols {
		msg = appendMessage(msg, 2, protoColumn(col))
	}
	c.add(1, msg)
}

func (c *protoEntries) row(vals []sqlite.Value) {
	c.row1 = appendProtoRow(c.row1[:0], vals)
	c.add(4, c.row1)
}

func (c *protoEntries) end(_ int, res tenant.Result) {
	c.open = false
	c.add(2, appendProtoOutcome(nil, 1, res))
}

func (c *protoEntries) fail(step int, err *Error) {
	c.undo()
	c.add(3, appendMessage(appendNumber(nil, 1, uint64(step)), 2, protoError(err)))
}

func (c *protoEntries) fatal(err *Error) {
	c.undo()
	c.add(5, protoError(err))
}

func (c *protoEntries) skip(int) {}

func appendMessage(b []byte, num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), msg)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func protoColumn(c tenant.Column) []byte {
	b := appendText(nil, 1, c.Name)
	if c.DeclType != "" {
		b = appendText(b, 2, c.DeclType)
	}
	return b
}

func protoError(e *Error) []byte { return appendText(appendText(nil, 1, e.Message), 2, e.Code) }

// appendProtoOutcome appends the affected rows and the last row id, whose
// fields follow one another.
func appendProtoOutcome(b []byte, num protowire.Number, res tenant.Result) []byte {
	b = appendNumber(b, num, uint64(res.Affected))
	if res.Wrote {
		b = appendNumber(b, num+1, protowire.EncodeZigZag(res.LastID))
	}
	return b
}

// appendProtoRow appends the fields of a Row.
func appendProtoRow(b []byte, vals []sqlite.Value) []byte {
	var num [16]byte
	for _, v := range vals {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		switch v.Kind {
		case sqlite.KindInteger:
			b = protowire.AppendBytes(b, appendNumber(num[:0], 2, protowire.EncodeZigZag(v.I)))
		case sqlite.KindFloat:
			f := protowire.AppendTag(num[:0], 3, protowire.Fixed64Type)
			b = protowire.AppendBytes(b, protowire.AppendFixed64(f, math.Float64bits(v.Float())))
		case sqlite.KindText:
			b = appendProtoBytes(b, 4, mended(v.B))
		case sqlite.KindBlob:
			b = appendProtoBytes(b, 5, v.B)
		default:
			b = protowire.AppendBytes(b, appendMessage(num[:0], 1, nil))
		}
	}
	return b
}

// appendProtoBytes appends a Value of bytes, after its length.
func appendProtoBytes(b []byte, num protowire.Number, v []byte) []byte {
	b = protowire.AppendVarint(b, uint64(protowire.SizeTag(num)+protowire.SizeBytes(len(v))))
	return appendMessage(b, num, v)
}

// mended replaces bytes that are no UTF-8 by U+FFFD, as JSON's encoder does.
func mended(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return []byte(string([]rune(string(b))))
}

func protoDescription(d *tenant.Description) []byte {
	var b []byte
	for _, p := range d.Params {
		var param []byte
		if p != "" {
			param = appendText(nil, 1, p)
		}
		b = appendMessage(b, 1, param)
	}
	for _, c := range d.Columns {
		b = appendMessage(b, 2, protoColumn(c))
	}
	b = appendNumber(b, 3, protowire.EncodeBool(d.Explain))
	return appendNumber(b, 4, protowire.EncodeBool(d.ReadOnly))
}

// protoAnswer is the response to one request: its field of a StreamResponse.
func protoAnswer(a *answer) []byte {
	return appendMessage(nil, protowire.Number(a.kind), protoBody(a))
}

// protoBody is the message in that field.
func protoBody(a *answer) []byte {
	switch a.kind {
	case KindExecute, KindBatch:
		return appendMessage(nil, 1, a.results.(*protoResults).buf)
	case KindDescribe:
		return appendMessage(nil, 1, protoDescription(a.description))
	case KindGetAutocommit:
		return appendNumber(nil, 1, protowire.EncodeBool(a.autocommit))
	}
	return nil
}
