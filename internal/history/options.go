package history

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configures Open. The zero value is a store in memory, for tests.
type Options struct {
	Dir           string       // created if missing; "" with a nil FS: in memory
	FS            vfs.FS       // nil: the operating system's
	CacheBytes    int64        // block cache; 0: 64 MB
	MemTableBytes int64        // size of a memtable; 0: 16 MB
	Handles       int          // heads of idle databases kept in memory; 0: 2048
	ReserveBytes  int64        // Append fails with ErrFull when the disk has less left; 0: 256 MB, <0: no check
	Logger        *slog.Logger // warnings and errors of the engine; nil: none
}
