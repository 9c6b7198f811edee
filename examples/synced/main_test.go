package main

func Example() {
	main()
	// Output:
	// monday, unsent transactions: 2
	// monday, synced: 2 sent, 1 round trip
	// tuesday, the conversation so far:
	//   user: My deploys fail on Fridays.
	//   agent: The backup locks the volume then. I have moved it to Saturday.
}
