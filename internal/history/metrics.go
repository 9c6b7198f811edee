package history

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Metrics are counters since Open and gauges.
type Metrics struct {
	Commit CommitMetrics
	Engine EngineMetrics

	Handles int  // databases whose head is in memory
	Full    bool // writes are refused, see Options.ReserveBytes
	Failed  bool // the store must be reopened
}

// CommitMetrics tell about the way of writes to stable storage.
type CommitMetrics struct {
	Writes      uint64 // appends and other writes made durable
	Bytes       uint64 // in them
	Aborted     uint64 // writes accepted and failed
	QueuedBytes int
}

// EngineMetrics tell about the storage engine.
type EngineMetrics struct {
	DiskBytes      uint64 // all files
	WALBytes       uint64 // written to the log since Open
	FlushedBytes   uint64 // written to tables by flushes
	CompactedBytes uint64 // written to tables by compactions
	MemTableBytes  uint64
	CacheBytes     int64
	CacheHits      int64
	CacheMisses    int64
	Compactions    int64
	CompactionDebt uint64 // bytes still to be compacted
	ReadAmp        int    // tables that a read may have to look at
}

// Metrics returns the present figures, or zeros after Close.
func (p *Pebble) Metrics() Metrics {
	if p.table.enter() != nil {
		return Metrics{}
	}
	defer p.table.leave()
	return Metrics{
		Commit:  p.commit.metrics(),
		Engine:  engineMetrics(p.db.Metrics()),
		Handles: p.table.size(),
		Full:    p.full.Load(),
		Failed:  p.commit.dead() != nil,
	}
}

func (c *committer) metrics() CommitMetrics {
	c.mu.Lock()
	queued := c.queued
	for _, r := range c.late {
		queued += r.size
	}
	c.mu.Unlock()
	c.statsMu.Lock()
	defer c.statsMu.Unlock()
	m := c.stats
	m.QueuedBytes = queued
	return m
}

func engineMetrics(m *pebble.Metrics) EngineMetrics {
	total := m.Total()
	return EngineMetrics{
		DiskBytes:      m.DiskSpaceUsage(),
		WALBytes:       m.WAL.BytesWritten,
		FlushedBytes:   total.TableBytesFlushed,
		CompactedBytes: total.TableBytesCompacted,
		MemTableBytes:  m.MemTable.Size,
		CacheBytes:     m.BlockCache.Size,
		CacheHits:      m.BlockCache.Hits,
		CacheMisses:    m.BlockCache.Misses,
		Compactions:    m.Compact.Count,
		CompactionDebt: m.Compact.EstimatedDebt,
		ReadAmp:        m.ReadAmp(),
	}
}

// Usage is the size of a database.
type Usage struct {
	Logical uint64 // of the SQLite file at the head
	Stored  uint64 // approximately on disk, without what forks share with their parent
}

// Usage returns the size of a database. What is still only in memory and in the
// log is not counted in Stored.
func (p *Pebble) Usage(ctx context.Context, id DBID) (Usage, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return Usage{}, opErr("usage of", id, err)
	}
	defer p.table.release(h)
	_, durable, err := h.state()
	u := Usage{Logical: uint64(durable.DBSize) * PageSize}
	for _, prefix := range []byte{prefixCommit, prefixPage, prefixMeta} {
		if err != nil {
			break
		}
		var n uint64
		n, err = p.db.EstimateDiskUsage(idKey(prefix, h.id), idKey(prefix, h.id+1))
		u.Stored += n
	}
	return u, opErr("usage of", id, err)
}

// Checkpoint writes a consistent copy of the store, which Open can open, into a
// directory that must not exist. It shares files by hard links where it can.
func (p *Pebble) Checkpoint(dir string) error {
	if err := p.enter(); err != nil {
		return fmt.Errorf("history: checkpoint: %w", err)
	}
	defer p.table.leave()
	if err := p.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("history: checkpoint: %w", err)
	}
	return nil
}
