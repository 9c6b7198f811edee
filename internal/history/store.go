package history

// Pebble is the Store of one machine, on the LSM engine of that name.
type Pebble struct{ Store }

var _ Store = (*Pebble)(nil)

// Open opens or creates a store.
func Open(o Options) (*Pebble, error) { panic("not yet") }

// Usage returns the approximate number of bytes that a database has on disk.
func (p *Pebble) Usage() {}
