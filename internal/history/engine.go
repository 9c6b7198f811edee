package history

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// blockSize is larger than the engine's default because page images are; the
// smaller it is, the faster is a single page, and the slower is a stream.
const blockSize = 16 << 10

// engineOptions keeps the engine small in memory and spells out what would be
// surprising if it changed with a version. slow is the pace of compactions.
func engineOptions(o Options, slow *pace, failed func(error)) *pebble.Options {
	po := &pebble.Options{
		FS:                          o.FS,
		CacheSize:                   o.CacheBytes + 2*o.MemTableBytes, // it reserves room for memtables
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		FormatMajorVersion:          pebble.FormatNewest,
		L0CompactionThreshold:       32, // flushes are small, and each compaction writes much of the next level again
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               128 << 20,
		MaxOpenFiles:                1000,
		Logger:                      engineLogger{o.Logger},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	for i := range po.Levels {
		po.Levels[i].BlockSize = blockSize
		po.Levels[i].IndexBlockSize = blockSize
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	}
	// What a flush writes is soon written again.
	po.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	if o.CompactRate > 0 {
		po.FS = throttledFS{o.FS, slow}
	}
	back := &troubles{log: o.Logger, failed: failed}
	po.FS = flushFS{watchedFS{po.FS, failed}, back}
	po.EventListener = &pebble.EventListener{
		BackgroundError: back.background,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			o.Logger.Error("history: data corruption", "path", i.Path, "err", i.Details)
		},
		DiskSlow: func(i pebble.DiskSlowInfo) {
			o.Logger.Warn("history: slow disk", "path", i.Path, "duration", i.Duration)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			o.Logger.Warn("history: write stall", "reason", i.Reason)
			slow.urgent.Store(true)
		},
		WriteStallEnd: func() { slow.urgent.Store(false) },
	}
	return po
}

// engineLogger drops the engine's running commentary.
type engineLogger struct{ log *slog.Logger }

func (engineLogger) Infof(string, ...any) {}

func (l engineLogger) Errorf(format string, args ...any) {
	l.log.Error("history: engine: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return. In the committer the panic is caught and fails the
// store; anywhere else the engine can't go on, and neither can the process, which
// ends with the text.
func (engineLogger) Fatalf(format string, args ...any) {
	f := &fatal{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	panic(f)
}

// fatal is why the engine can't go on.
type fatal struct {
	text  string
	cause error // may be nil
}

func (f *fatal) Error() string { return f.text }

func (f *fatal) Unwrap() error { return f.cause }

// caught makes an error of what a panic was about.
func caught(v any) error {
	if err, ok := v.(error); ok {
		return err
	}
	return fmt.Errorf("%v", v)
}

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
		if o.Dir == "" {
			o.FS = vfs.NewMem()
		}
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 8 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 8 << 20
	}
	if o.ImageBytes == 0 {
		o.ImageBytes = 6 << 20
	}
	if o.Handles == 0 {
		o.Handles = 2048
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// get returns a copy of the value, or nil if there is none.
func (p *Pebble) get(key []byte) ([]byte, error) {
	v, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, engineErr(err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// mustGet is get for keys that something else promises.
func (p *Pebble) mustGet(key []byte) ([]byte, error) {
	v, err := p.get(key)
	if err == nil && v == nil {
		err = fmt.Errorf("missing key %q: %w", key, ErrCorrupt)
	}
	return v, err
}

func (p *Pebble) descriptor(id uint64) (descriptor, error) {
	raw, err := p.mustGet(idKey(prefixDesc, id))
	if err != nil {
		return descriptor{}, err
	}
	return decodeDescriptor(raw)
}

// engineErr marks damage that the engine itself noticed.
func engineErr(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// scan returns an iterator over [lower, upper).
func (p *Pebble) scan(lower, upper []byte) (*pebble.Iterator, error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, engineErr(err)
	}
	return it, nil
}

// closeIter closes an iterator and returns the first of the two errors.
func closeIter(it *pebble.Iterator, err error) error {
	if cerr := it.Close(); err == nil && cerr != nil {
		return engineErr(cerr)
	}
	return err
}
