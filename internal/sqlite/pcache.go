package sqlite

import (
	_ "unsafe" // for go:linkname

	lib "modernc.org/sqlite/lib"
)

// The translated library is compiled with SQLITE_ENABLE_MEMORY_MANAGEMENT. We
// do not use that, but it puts the page caches of all connections in the
// process behind one mutex, so that readers on different connections hardly run
// in parallel. SQLite's own default, a cache without a mutex per connection, is
// still in the compiled code behind this variable. It is read when a cache is
// made; caches made before go on as they are.
//
//go:linkname pageCaches modernc.org/sqlite/lib._pcache1_g
var pageCaches lib.TPCacheGlobal

// separateCaches is initialised after package vec, whose init starts SQLite and
// thereby clears pageCaches, and before a connection can exist.
var separateCaches = separatePageCaches()

// separatePageCaches reports whether it had an effect.
func separatePageCaches() bool {
	if pageCaches.FisInit == 0 {
		return false
	}
	pageCaches.FseparateCache = 1
	return true
}
