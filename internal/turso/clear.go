package turso

import "encoding/binary"

// Clearer clears from the pages of a database what it doesn't hold: see
// ClearUnused. What it makes of a page follows from the page alone, unless it
// clears those of the freelist, too.
type Clearer struct {
	size uint32            // of the database, in pages; 0 if nothing can be told of them
	free map[uint32]uint32 // of pages in the freelist, how many bytes say something
}

// Clearer returns the Clearer for a database of so many pages. With free it
// clears the pages of the freelist: only for files that no pages will be put onto,
// since one that comes back as it was doesn't count as changed.
func (m *Image) Clearer(size uint32, free bool) (*Clearer, error) {
	if size == 0 {
		return &Clearer{}, nil
	}
	one, err := m.Page(1)
	if err != nil {
		return nil, err
	}
	// With auto_vacuum there are pages of pointers that look like those of trees.
	if len(one) != PageSize || binary.BigEndian.Uint32(one[offAutoVacuum:]) != 0 {
		return &Clearer{}, nil
	}
	c := &Clearer{size: size}
	if free {
		c.free, err = m.freelist(one, size)
	}
	return c, err
}

// Clear clears a page, which is changed.
func (c *Clearer) Clear(page []byte, no uint32) {
	if used, ok := c.free[no]; ok {
		clear(page[used:])
	} else if c.size > 0 {
		ClearUnused(page, no, c.size)
	}
}

// freelist returns the pages of the freelist, and how many bytes of each are
// numbers of others; none if the list is not as it should be. See
// https://www.sqlite.org/fileformat2.html#the_freelist.
func (m *Image) freelist(one []byte, size uint32) (map[uint32]uint32, error) {
	list := map[uint32]uint32{}
	add := func(no, used uint32) bool {
		_, twice := list[no]
		list[no] = used
		return no >= 2 && no <= size && !twice
	}
	trunk, count := binary.BigEndian.Uint32(one[offFreelist:]), binary.BigEndian.Uint32(one[offFreelist+4:])
	for trunk != 0 {
		if trunk > size {
			return nil, nil
		}
		page, err := m.Page(trunk)
		if err != nil {
			return nil, err
		}
		if len(page) != PageSize {
			return nil, nil
		}
		leaves := binary.BigEndian.Uint32(page[4:])
		if leaves > PageSize/4-2 || !add(trunk, 8+4*leaves) {
			return nil, nil
		}
		for i := range leaves {
			if !add(binary.BigEndian.Uint32(page[8+4*i:]), 0) {
				return nil, nil
			}
		}
		trunk = binary.BigEndian.Uint32(page)
	}
	if len(list) != int(count) {
		return nil, nil
	}
	return list, nil
}
