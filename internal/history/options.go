package history

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configures Open. The zero value is a store in memory, for tests. The
// defaults suit ten thousand mostly idle databases in about 100 MB.
type Options struct {
	Dir           string       // created if missing; "" with a nil FS: in memory
	FS            vfs.FS       // nil: the operating system's
	CacheBytes    int64        // block cache; 0: 8 MB, the operating system caches too
	MemTableBytes int64        // size of a memtable, of which there are two or more; 0: 8 MB
	ImageBytes    int64        // newest images of pages, to store the next ones as differences; 0: 6 MB, <0: none
	Handles       int          // heads of idle databases kept in memory; 0: 2048
	CompactRate   int64        // bytes per second that compactions write at most, while no writer waits for them; 0: no limit
	ReserveBytes  int64        // Append fails with ErrFull when the disk has less left; 0: 256 MB, <0: no check
	Logger        *slog.Logger // warnings and errors of the engine; nil: none
}
