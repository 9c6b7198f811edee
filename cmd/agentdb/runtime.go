package main

import (
	"os"
	"runtime"
)

// spareHeap is counted by the collector, but takes no memory: nobody touches
// it. With a small heap the collector would run dozens of times a second under
// load; this lets as many bytes of garbage pile up before it does.
const spareHeap = 8 << 20

// spareThreads go on while others wait in the kernel for the disk: the log's
// sync alone would keep one of two from the requests now and then, and its end
// would wait in a queue behind them.
const spareThreads = 2

// tuneRuntime fits Go's runtime to a server that writes all the time. What GOGC
// and GOMAXPROCS say goes first. The function that it returns gives the heap
// back.
func tuneRuntime() (undo func()) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareThreads)
	}
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	spare := make([]byte, spareHeap)
	return func() { runtime.KeepAlive(spare) }
}
