package main

func Example() {
	main()
	// Output:
	// worker-1: 2 pages, 730 words
	// worker-2: 1 pages, 4200 words
	// worker-3: 2 pages, 1430 words
	// the coordinator may write: false
}
