package main

import "os"

func Example() {
	_ = os.Unsetenv("AGENTDB_URL") // what it prints depends on a new database
	main()
	// Output:
	// bob's row 1 of tasks is number 2 now
	// bob's row 1 of notes is number 2 now
	// 1  write the release notes (mention the new shell)
	// 2  update the website (needs a screenshot)
	// conflicts: 1
	// overwrite of tasks 1: {"id":1,"title":"write the release notes","status":"blocked","agent":null} lost to {"id":1,"title":"write the release notes","status":"done","agent":"bob"}
	// alice claims: update the website
	// bob finds nothing to claim
}
