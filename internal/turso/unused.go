package turso

import "encoding/binary"

// treePages is the size from which a page of another kind could look like one of
// a tree: those begin with the number of another page.
const treePages = 2 << 24

// ClearUnused zeroes what SQLite left behind in the parts of a page that hold
// nothing: rows that were deleted, or moved to other pages. no is the page's
// number, size the number of pages of the database. It leaves pages alone that
// are not of a tree. The format is described in
// https://www.sqlite.org/fileformat2.html#b_tree_pages.
func ClearUnused(page []byte, no, size uint32) {
	if len(page) != PageSize || size >= treePages {
		return
	}
	var few [16]extent
	for _, e := range unused(few[:0], page, no) {
		clear(page[e.from:e.to])
	}
}

// extent is a part of a page.
type extent struct{ from, to int }

// unused appends the parts of a tree's page that hold nothing: what lies between
// its header and its cells, and the free blocks among these, but for the words
// that chain them. There are none of a page that is not one of a tree.
func unused(list []extent, page []byte, no uint32) []extent {
	at := 0
	if no == 1 {
		at = headerSize
	}
	head := page[at:]
	switch head[0] {
	case pageIndexLeaf, pageTableLeaf:
		at += 8
	case pageIndexInner, pageTableInner:
		at += 12
	default:
		return nil
	}
	at += 2 * int(binary.BigEndian.Uint16(head[3:]))
	cells := int(binary.BigEndian.Uint16(head[5:]))
	if at > cells || cells > PageSize {
		return nil
	}
	list = append(list, extent{at, cells})
	at = cells
	for block := int(binary.BigEndian.Uint16(head[1:])); block != 0; {
		if block < at || block+4 > PageSize {
			return nil
		}
		at = block + int(binary.BigEndian.Uint16(page[block+2:]))
		if at < block+4 || at > PageSize {
			return nil
		}
		list = append(list, extent{block + 4, at})
		block = int(binary.BigEndian.Uint16(page[block:]))
	}
	return list
}
