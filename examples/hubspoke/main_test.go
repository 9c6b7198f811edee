package main

import "os"

func Example() {
	_ = os.Unsetenv("AGENTDB_URL") // what it prints depends on a new database
	main()
	// Output:
	// worker-1: 2 pages, 730 words
	// worker-2: 1 pages, 4200 words
	// worker-3: 2 pages, 1430 words
	// the coordinator may write: false
}
