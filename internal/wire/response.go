package wire

import (
	"encoding/binary"
	"fmt"
)

// Append appends the encoded answer to dst. A snapshot's pages follow it as
// chunks, see AppendPages.
func (m *Response) Append(dst []byte) []byte {
	size := 96
	for i := range m.Commits {
		size += len(m.Commits[i].Body) + 8
	}
	b := make([]byte, 0, size)
	b = append(b, byte(m.Status))
	b = AppendRevision(b, m.Head)
	b = binary.AppendUvarint(b, m.Last)
	b = binary.LittleEndian.AppendUint64(b, m.LastChain)
	b = binary.AppendUvarint(b, m.ForkAt)
	b = append(b, byte(m.Strict.Code))
	b = AppendString(b, m.Strict.Reason)
	b = binary.AppendUvarint(b, uint64(m.Pages))
	b = AppendResults(b, m.Results)
	b = binary.AppendUvarint(b, uint64(len(m.Commits)))
	for i := range m.Commits {
		b = m.Commits[i].append(b)
	}
	return seal(dst, kindResponse, b)
}

// Bits of a commit's flag byte.
const (
	commitOwn    = 1 << 0
	commitSame   = 1 << 1
	commitStrict = 1 << 2
)

func (c *Commit) append(b []byte) []byte {
	var f byte
	if c.OwnLast != 0 {
		f |= commitOwn
	}
	if c.Same {
		f |= commitSame
	}
	if c.Strict != 0 {
		f |= commitStrict
	}
	b = append(b, f)
	if c.OwnLast != 0 {
		b = binary.AppendUvarint(b, c.OwnFirst)
		b = binary.AppendUvarint(b, c.OwnLast-c.OwnFirst)
	}
	if c.Strict != 0 {
		b = binary.AppendUvarint(b, uint64(c.Strict))
	}
	if !c.Same {
		b = AppendBytes(b, c.Body)
	}
	return b
}

func (r *Reader) commit() (c Commit) {
	f := r.Byte()
	if f&^(commitOwn|commitSame|commitStrict) != 0 || f != 0 && f&commitOwn == 0 || f&commitSame != 0 && f&commitStrict != 0 {
		r.Fail("bad commit flags %#x", f)
	}
	if f&commitOwn != 0 {
		c.OwnFirst = r.Uvarint()
		c.OwnLast = c.OwnFirst + r.Uvarint()
		if c.OwnFirst == 0 || c.OwnLast < c.OwnFirst {
			r.Fail("bad range of changes")
		}
	}
	if f&commitStrict != 0 {
		n := r.Uvarint()
		if c.Strict = int(n); n == 0 || n > uint64(r.Len()) {
			r.Fail("%d events in %d bytes", n, r.Len())
		}
	}
	if c.Same = f&commitSame != 0; !c.Same {
		c.Body = r.Bytes()
	}
	return c
}

// AppendResults appends a list of results. The server keeps them in the same
// form beside each commit, to repeat them when an answer was lost.
func AppendResults(b []byte, rs []Result) []byte {
	b = binary.AppendUvarint(b, uint64(len(rs)))
	for _, res := range rs {
		b = binary.AppendUvarint(b, res.ID)
		b = binary.AppendUvarint(b, uint64(len(res.Ops)))
		for _, op := range res.Ops {
			b = binary.AppendUvarint(b, uint64(op.Index))
			b = append(b, byte(op.Code))
			if op.Code == OpNewID {
				b = binary.AppendVarint(b, op.NewID)
			}
		}
	}
	return b
}

// Results reads a list of results.
func (r *Reader) Results() []Result {
	n := r.Count(2)
	if n == 0 || r.Err() != nil {
		return nil
	}
	rs := make([]Result, n)
	for i := range rs {
		rs[i].ID = r.Uvarint()
		k := r.Count(2)
		if k > 0 && r.Err() == nil {
			rs[i].Ops = make([]OpResult, k)
		}
		for j := range rs[i].Ops {
			op := OpResult{Index: uint32(min(r.Uvarint(), 1<<31)), Code: OpCode(r.Byte())}
			switch {
			case op.Code == OpNewID:
				op.NewID = r.Varint()
			case op.Code > OpNoop:
				r.Fail("unknown operation code %d", op.Code)
			}
			rs[i].Ops[j] = op
		}
	}
	return rs
}

// Bounds of the memory that commits take: a byte or two can be one.
const (
	commitSize = 64   // bytes
	fewCommits = 4096 // are let pass
	maxGrowth  = 16   // bytes of memory for each of the body's
)

// DecodeResponse decodes one answer of at most limit bytes, decompressed. The
// result aliases msg.
func DecodeResponse(msg []byte, limit int) (*Response, error) {
	body, err := open(msg, kindResponse, limit)
	if err != nil {
		return nil, err
	}
	r := NewReader(body)
	m := &Response{Status: Status(r.Byte()), Head: r.Revision()}
	m.Last = r.Uvarint()
	m.LastChain = r.Uint64()
	m.ForkAt = r.Uvarint()
	m.Strict = StrictResult{Code: StrictCode(r.Byte()), Reason: r.String()}
	pages := r.Uvarint()
	if pages > maxPages {
		r.Fail("a snapshot of %d pages", pages)
	}
	m.Pages = uint32(pages)
	m.Results = r.Results()
	n := r.Count(2)
	if n*commitSize > maxGrowth*len(body)+fewCommits*commitSize {
		return nil, fmt.Errorf("%w: an answer of %d commits in %d bytes", ErrTooLarge, n, len(body))
	}
	if n > 0 && r.Err() == nil {
		m.Commits = make([]Commit, n)
	}
	for i := range m.Commits {
		m.Commits[i] = r.commit()
	}
	if m.Status > StatusSnapshot || m.Strict.Code > StrictRejected {
		r.Fail("unknown status %d/%d", m.Status, m.Strict.Code)
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return m, nil
}
