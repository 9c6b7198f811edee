package turso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrCorrupt is returned when pages are not those of a database file.
var ErrCorrupt = errors.New("turso: corrupt page")

// Image is a database at one revision, read page by page. The file format is
// described in https://www.sqlite.org/fileformat2.html.
type Image struct {
	// Page returns a page, whose number counts from 1. It is not changed.
	Page func(no uint32) ([]byte, error)

	visits int
}

// Object is a row of the schema.
type Object struct {
	Type, Name, Table string
	Root              uint32
	SQL               string
}

// Offsets in the header of page 1.
const (
	headerSize     = 100
	offPageSize    = 16
	offReserved    = 20
	offFreelist    = 32
	offAutoVacuum  = 52
	offEncoding    = 56
	encodingUTF8   = 1
	maxDepth       = 20
	maxObjects     = 100_000
	maxVisits      = 1 << 17
	pageIndexLeaf  = 10
	pageTableLeaf  = 13
	pageTableInner = 5
	pageIndexInner = 2
)

// EmptyPage is page 1 of a database in which nothing was made yet.
func EmptyPage() []byte {
	p := make([]byte, PageSize)
	copy(p, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(p[offPageSize:], PageSize)
	p[18], p[19] = 2, 2                   // WAL
	p[21], p[22], p[23] = 64, 32, 32      // payload fractions, fixed
	binary.BigEndian.PutUint32(p[28:], 1) // pages
	binary.BigEndian.PutUint32(p[44:], 4) // schema format
	binary.BigEndian.PutUint32(p[offEncoding:], encodingUTF8)
	p[headerSize] = pageTableLeaf
	binary.BigEndian.PutUint16(p[headerSize+5:], PageSize) // where cells begin
	return p
}

// Schema returns the rows of the schema.
func (m *Image) Schema() ([]Object, error) {
	var list []Object
	err := m.walk(1, 0, func(c *cell) error {
		rec, err := m.payload(c)
		if err != nil {
			return err
		}
		vals, err := record(rec, 5)
		if err != nil {
			return err
		}
		o := Object{Type: vals[0].text, Name: vals[1].text, Table: vals[2].text, Root: uint32(vals[3].i), SQL: vals[4].text}
		if list = append(list, o); len(list) > maxObjects {
			return fmt.Errorf("%w: too many objects", ErrCorrupt)
		}
		return nil
	})
	return list, err
}

// Root returns the root page of a table, 0 if there is none of that name.
func (m *Image) Root(table string) (uint32, error) {
	list, err := m.Schema()
	if err != nil {
		return 0, err
	}
	for _, o := range list {
		if o.Type == "table" && strings.EqualFold(o.Name, table) {
			return o.Root, nil
		}
	}
	return 0, nil
}

// MayHave reports whether there may be a table of that name: there is one, or it
// can't be told.
func (m *Image) MayHave(table string) (bool, error) {
	one, err := m.Page(1)
	if err != nil {
		return false, err
	}
	if len(one) != PageSize || binary.BigEndian.Uint32(one[offEncoding:]) > encodingUTF8 {
		return true, nil
	}
	root, err := m.Root(table)
	if errors.Is(err, ErrCorrupt) {
		return true, nil
	}
	return root > 0, err
}

// HasRow reports whether the table at a root has a row with that rowid.
func (m *Image) HasRow(root uint32, rowid int64) (bool, error) {
	for range maxDepth {
		n, err := m.node(root)
		if err != nil {
			return false, err
		}
		i, err := n.search(rowid)
		if err != nil {
			return false, err
		}
		if n.leaf {
			if i == n.cells {
				return false, nil
			}
			c, err := n.cell(i)
			return err == nil && c.rowid == rowid, err
		}
		if root, err = n.child(i); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("%w: a tree too deep", ErrCorrupt)
}

// MaxRowID returns the highest rowid of the table at a root, 0 if it is empty.
func (m *Image) MaxRowID(root uint32) (int64, error) {
	for range maxDepth {
		n, err := m.node(root)
		if err != nil {
			return 0, err
		}
		if !n.leaf {
			if root, err = n.child(n.cells); err != nil {
				return 0, err
			}
			continue
		}
		if n.cells == 0 {
			return 0, nil
		}
		c, err := n.cell(n.cells - 1)
		if err != nil {
			return 0, err
		}
		return c.rowid, nil
	}
	return 0, fmt.Errorf("%w: a tree too deep", ErrCorrupt)
}

// node is a page of a table's tree.
type node struct {
	page  []byte
	off   int // of the header
	leaf  bool
	cells int
}

// cell is a row in a leaf, or a key in an inner page.
type cell struct {
	rowid    int64
	child    uint32
	size     uint64 // of the whole payload
	local    []byte // its part in the page
	overflow uint32
}

func (m *Image) node(no uint32) (*node, error) {
	if m.visits++; m.visits > maxVisits {
		return nil, fmt.Errorf("%w: a tree that has no end", ErrCorrupt)
	}
	page, err := m.Page(no)
	if err != nil {
		return nil, err
	}
	if len(page) != PageSize {
		return nil, fmt.Errorf("%w: page %d has %d bytes", ErrCorrupt, no, len(page))
	}
	n := &node{page: page}
	if no == 1 {
		n.off = headerSize
	}
	n.cells = int(binary.BigEndian.Uint16(page[n.off+3:]))
	head := 12
	switch page[n.off] {
	case pageTableLeaf:
		n.leaf, head = true, 8
	case pageTableInner:
	default:
		return nil, fmt.Errorf("%w: page %d is no table's", ErrCorrupt, no)
	}
	if n.off+head+2*n.cells > PageSize {
		return nil, fmt.Errorf("%w: page %d has %d cells", ErrCorrupt, no, n.cells)
	}
	return n, nil
}

// child returns the page below the i-th key; the last has no key.
func (n *node) child(i int) (uint32, error) {
	if i == n.cells {
		return binary.BigEndian.Uint32(n.page[n.off+8:]), nil
	}
	c, err := n.cell(i)
	if err != nil {
		return 0, err
	}
	return c.child, nil
}

func (n *node) cell(i int) (c *cell, err error) {
	head := 12
	if n.leaf {
		head = 8
	}
	at := int(binary.BigEndian.Uint16(n.page[n.off+head+2*i:]))
	if at >= PageSize {
		return nil, fmt.Errorf("%w: a cell outside of its page", ErrCorrupt)
	}
	b := n.page[at:]
	c = &cell{}
	if !n.leaf {
		if len(b) < 5 {
			return nil, fmt.Errorf("%w: a cell outside of its page", ErrCorrupt)
		}
		c.child = binary.BigEndian.Uint32(b)
		v, _, ok := varint(b[4:])
		if !ok {
			return nil, fmt.Errorf("%w: a key", ErrCorrupt)
		}
		c.rowid = int64(v)
		return c, nil
	}
	size, k, ok := varint(b)
	if !ok {
		return nil, fmt.Errorf("%w: a size", ErrCorrupt)
	}
	key, l, ok := varint(b[k:])
	if !ok || size > math.MaxInt32 {
		return nil, fmt.Errorf("%w: a key", ErrCorrupt)
	}
	c.size, c.rowid = size, int64(key)
	b = b[k+l:]
	local := localSize(int(size))
	if len(b) < local || local < int(size) && len(b) < local+4 {
		return nil, fmt.Errorf("%w: a row outside of its page", ErrCorrupt)
	}
	c.local = b[:local]
	if local < int(size) {
		c.overflow = binary.BigEndian.Uint32(b[local:])
	}
	return c, nil
}

// localSize returns how much of a row is in its leaf.
func localSize(size int) int {
	const usable, most = PageSize, PageSize - 35
	if size <= most {
		return size
	}
	const least = (usable-12)*32/255 - 23
	k := least + (size-least)%(usable-4)
	if k <= most {
		return k
	}
	return least
}

// search returns the first cell whose rowid is not below that one.
func (n *node) search(rowid int64) (int, error) {
	lo, hi := 0, n.cells
	for lo < hi {
		mid := (lo + hi) / 2
		c, err := n.cell(mid)
		if err != nil {
			return 0, err
		}
		if c.rowid < rowid {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// walk calls fn with each row of a table, in order.
func (m *Image) walk(root uint32, depth int, fn func(*cell) error) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: a tree too deep", ErrCorrupt)
	}
	n, err := m.node(root)
	if err != nil {
		return err
	}
	for i := range n.cells {
		c, err := n.cell(i)
		if err == nil && n.leaf {
			err = fn(c)
		} else if err == nil {
			err = m.walk(c.child, depth+1, fn)
		}
		if err != nil {
			return err
		}
	}
	if n.leaf {
		return nil
	}
	last, err := n.child(n.cells)
	if err != nil {
		return err
	}
	return m.walk(last, depth+1, fn)
}

// payload returns a row's record, with what is on overflow pages.
func (m *Image) payload(c *cell) ([]byte, error) {
	if c.overflow == 0 {
		return c.local, nil
	}
	out := append([]byte(nil), c.local...)
	for no := c.overflow; uint64(len(out)) < c.size; {
		if no == 0 {
			return nil, fmt.Errorf("%w: a row ends early", ErrCorrupt)
		}
		page, err := m.Page(no)
		if err != nil {
			return nil, err
		}
		no = binary.BigEndian.Uint32(page)
		rest := page[4:]
		out = append(out, rest[:min(len(rest), int(c.size)-len(out))]...)
	}
	return out, nil
}

// value is a column of a record, as far as the schema's columns need it.
type value struct {
	i    int64
	text string
}

// record decodes the first n columns of a record.
func record(b []byte, n int) ([]value, error) {
	bad := fmt.Errorf("%w: a record", ErrCorrupt)
	size, k, ok := varint(b)
	if !ok || size > uint64(len(b)) || int(size) < k {
		return nil, bad
	}
	types, body := b[k:size], b[size:]
	vals := make([]value, n)
	for i := 0; i < n && len(types) > 0; i++ {
		t, k, ok := varint(types)
		if !ok {
			return nil, bad
		}
		types = types[k:]
		width := serialWidth(t)
		if width > uint64(len(body)) {
			return nil, bad
		}
		v := body[:width]
		body = body[width:]
		switch {
		case t >= 13 && t%2 == 1:
			vals[i].text = string(v)
		case t == 9:
			vals[i].i = 1
		case t >= 1 && t <= 6:
			x := int64(int8(v[0]))
			for _, c := range v[1:] {
				x = x<<8 | int64(c)
			}
			vals[i].i = x
		}
	}
	return vals, nil
}

// serialWidth returns how many bytes a value of a serial type has.
func serialWidth(t uint64) uint64 {
	switch {
	case t >= 12:
		return (t - 12) / 2
	case t == 5:
		return 6
	case t == 6 || t == 7:
		return 8
	case t <= 4:
		return t
	}
	return 0
}

// varint decodes SQLite's variable-length integer.
func varint(b []byte) (v uint64, n int, ok bool) {
	for i := range 8 {
		if i >= len(b) {
			return 0, 0, false
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1, true
		}
	}
	if len(b) < 9 {
		return 0, 0, false
	}
	return v<<8 | uint64(b[8]), 9, true
}
