package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	_ "modernc.org/sqlite/vec" // registers sqlite-vec with every connection
)

// SQLite 3.7.0 to 3.51.2 can corrupt a WAL database used by two connections.
const minVersion = 3051003

// SQLiteVersion is the version of the SQLite this package is compiled against.
const SQLiteVersion = lib.SQLITE_VERSION

// DefaultBusyTimeout is how long a call waits for another connection's lock.
const DefaultBusyTimeout = 5 * time.Second

// Options says how to open a database. The zero value opens or creates it for
// reading and writing in WAL mode with synchronous=FULL and foreign keys on.
type Options struct {
	// ReadOnly refuses every write. The file is still opened for writing where
	// the file system allows it, because readers of a WAL database take part
	// in the shared-memory index; query_only keeps the connection from
	// changing anything. Where even that is impossible (read-only directory,
	// no WAL left over) the file is opened as immutable.
	ReadOnly bool
	// NoCreate fails when the file does not exist. ReadOnly implies it.
	NoCreate bool
	// BusyTimeout is how long to wait for locks; 0 means DefaultBusyTimeout,
	// negative means not at all.
	BusyTimeout time.Duration
	// Synchronous is OFF, NORMAL, FULL or EXTRA; "" means FULL.
	Synchronous string
	// CacheKB bounds the page cache; 0 means SQLite's default (2,000 KB).
	CacheKB int
	// Lookaside is for how many small allocations there is room beforehand; 0
	// means SQLite's default (40, in 48 KB).
	Lookaside int
	// NoWAL leaves the journal mode of the file alone.
	NoWAL bool
	// NoCheckpoint turns the automatic checkpoint at COMMIT off.
	NoCheckpoint bool
	// Exclusive takes the file for this connection alone, for as long as it is
	// open: the WAL's index is in memory, without a -shm file, and no locks are
	// taken and given back with each transaction.
	Exclusive bool
	// MemoryWAL keeps the WAL in memory, up to 4 MiB of it, for a file that may
	// be lost with the process: what was not checkpointed is. It needs
	// Exclusive.
	MemoryWAL bool
	// Temp bounds the temporary files of the connection; nil: nothing does.
	Temp *TempSpace
	// NoForeignKeys leaves foreign key enforcement off.
	NoForeignKeys bool
}

// Open opens the database file at path. The path is taken literally, except
// that ":memory:" is a private in-memory database and "" a private temporary one.
func Open(path string, o Options) (*Conn, error) {
	switch o.Synchronous {
	case "":
		o.Synchronous = "FULL"
	case "OFF", "NORMAL", "FULL", "EXTRA":
	default:
		return nil, fmt.Errorf("sqlite: open %s: unknown synchronous mode %q", path, o.Synchronous)
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, fmt.Errorf("sqlite: open %q: NUL in path", path)
	}
	c, err := open(path, o, false)
	if err != nil && o.ReadOnly && immutableHelps(path, err) {
		c, err = open(path, o, true)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	return c, nil
}

// immutableHelps reports whether a read-only open failed only because there is
// no place for the shared-memory index of a WAL database that nobody writes.
func immutableHelps(path string, err error) bool {
	if !isPrimary(err, lib.SQLITE_CANTOPEN) && !IsReadOnly(err) {
		return false
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	wal, err := os.Stat(path + "-wal")
	return errors.Is(err, fs.ErrNotExist) || err == nil && wal.Size() == 0
}

func open(path string, o Options, immutable bool) (*Conn, error) {
	c := &Conn{tls: libc.NewTLS(), wake: make(chan struct{}, 1)}
	if err := c.open(path, o, immutable); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) open(path string, o Options, immutable bool) error {
	if v := lib.Xsqlite3_libversion_number(c.tls); v < minVersion {
		return fmt.Errorf("SQLite %d can corrupt WAL databases, need %d", v, minVersion)
	}
	if c.scratch = malloc(c.tls, scratchSize); c.scratch == 0 {
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	if c.handle = conns.add(c); c.handle == 0 {
		return errors.New("too many open connections")
	}
	if err := c.openFile(path, o, immutable); err != nil {
		return err
	}
	if o.Lookaside > 0 {
		if err := c.lookaside(o.Lookaside); err != nil {
			return err
		}
	}
	if err := c.ownRandomblob(); err != nil {
		return err
	}
	c.setBusyTimeout(o.BusyTimeout)
	return c.configure(path, o)
}

func (c *Conn) openFile(path string, o Options, immutable bool) error {
	flags := int32(lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE)
	if !o.NoCreate && !o.ReadOnly {
		flags |= lib.SQLITE_OPEN_CREATE
	}
	if immutable {
		flags = lib.SQLITE_OPEN_READONLY | lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE | lib.SQLITE_OPEN_URI
		path = "file:" + (&url.URL{Path: path}).EscapedPath() + "?immutable=1"
	}
	name := cstring(c.tls, path)
	if name == 0 {
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, name)
	vfs, err := c.vfs(o)
	if err != nil {
		return err
	}
	rc := lib.Xsqlite3_open_v2(c.tls, name, c.scratch+slotOut, flags, vfs)
	db := readPtr(c.scratch + slotOut)
	c.setDB(db)
	if rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	return nil
}

// vfs returns the name of the VFS that a connection needs, 0 for the default one.
func (c *Conn) vfs(o Options) (name uintptr, err error) {
	if o.Temp != nil {
		c.temp = o.Temp
		tempSpaces.Store(c.tls, o.Temp)
	}
	switch {
	case c.image != 0:
		name = useImageVFS()
	case o.MemoryWAL:
		name = useMemVFS()
	case o.Temp != nil:
		name = useTempVFS()
	default:
		return 0, nil
	}
	if name == 0 {
		err = c.errcode(lib.SQLITE_NOMEM, "")
	}
	return name, err
}

// configure runs the pragmas of a new connection. synchronous comes before
// journal_mode, so that the switch to WAL itself is already done under it.
func (c *Conn) configure(path string, o Options) error {
	var script strings.Builder
	if o.Exclusive {
		script.WriteString("PRAGMA locking_mode=EXCLUSIVE;")
	}
	script.WriteString("PRAGMA synchronous=" + o.Synchronous + ";")
	if o.CacheKB > 0 {
		fmt.Fprintf(&script, "PRAGMA cache_size=-%d;", o.CacheKB)
	}
	if o.NoForeignKeys {
		script.WriteString("PRAGMA foreign_keys=OFF;")
	} else {
		script.WriteString("PRAGMA foreign_keys=ON;")
	}
	if o.NoCheckpoint {
		script.WriteString("PRAGMA wal_autocheckpoint=0;")
	}
	if err := c.Exec(script.String()); err != nil {
		return err
	}
	if o.ReadOnly {
		// Reading the schema shows whether the file can be read at all.
		return c.Exec("PRAGMA query_only=ON; SELECT count(*) FROM sqlite_schema;")
	}
	if o.NoWAL {
		return c.Exec("SELECT count(*) FROM sqlite_schema;")
	}
	mode, err := c.QueryText("PRAGMA journal_mode=WAL")
	if err != nil {
		return err
	}
	if mode != "wal" && c.Filename() != "" {
		return fmt.Errorf("journal mode is %q, not WAL", mode)
	}
	return nil
}
