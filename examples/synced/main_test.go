package main

import "os"

func Example() {
	_ = os.Unsetenv("AGENTDB_URL") // what it prints depends on a new database
	main()
	// Output:
	// monday, unsent transactions: 2
	// monday, synced: 2 sent, 1 round trip
	// tuesday, the conversation so far:
	//   user: My deploys fail on Fridays.
	//   agent: The backup locks the volume then. I have moved it to Saturday.
}
