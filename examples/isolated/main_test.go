package main

func Example() {
	main()
	// Output:
	// agent 1 remembers:
	//   customer: prefers short answers
	//   invoice 4711: paid twice, refund asked for
	// agent 2 remembers:
	//   build: fails on Windows only
}
