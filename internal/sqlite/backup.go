package sqlite

import lib "modernc.org/sqlite/lib"

// BackupTo replaces the main database of dst by that of c, in one transaction
// on dst. dst must have no open transaction or running statement, c no open
// write transaction.
func (c *Conn) BackupTo(dst *Conn) error {
	if c.db == 0 || dst == nil || dst.db == 0 {
		return ErrClosed
	}
	if c == dst || c.running > 0 || dst.running > 0 {
		return misuse("backup of a connection in use")
	}
	name := cstring(c.tls, "main")
	if name == 0 {
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, name)
	b := lib.Xsqlite3_backup_init(dst.tls, dst.db, name, c.db, name)
	if b == 0 {
		return dst.errcode(lib.Xsqlite3_extended_errcode(dst.tls, dst.db), "")
	}
	rc := lib.Xsqlite3_backup_step(dst.tls, b, -1)
	if end := lib.Xsqlite3_backup_finish(dst.tls, b); rc == lib.SQLITE_DONE {
		rc = end
	}
	if rc != lib.SQLITE_OK {
		return dst.errcode(rc, "")
	}
	return nil
}

// Checkpoint moves the WAL of the main database into its file. It returns the
// frames in the WAL and how many of them are in the file now, -1 without a WAL.
// When a reader or writer keeps it from finishing, the error is SQLITE_BUSY.
func (c *Conn) Checkpoint(mode CheckpointMode) (logFrames, ckptFrames int, err error) {
	if c.db == 0 {
		return -1, -1, ErrClosed
	}
	if c.frozen {
		return -1, -1, errFrozen
	}
	name := cstring(c.tls, "main")
	if name == 0 {
		return -1, -1, c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, name)
	c.running++
	rc := lib.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, name, int32(mode), c.scratch+slotInt1, c.scratch+slotInt2)
	c.running--
	logFrames, ckptFrames = int(readInt32(c.scratch+slotInt1)), int(readInt32(c.scratch+slotInt2))
	if rc != lib.SQLITE_OK {
		return logFrames, ckptFrames, c.errcode(rc, "")
	}
	return logFrames, ckptFrames, nil
}
