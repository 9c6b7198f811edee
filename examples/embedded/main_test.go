package main

func Example() {
	main()
	// Output:
	// logged step 1
	// last step: summarize
	// 1  fetch_data  success
	// 2  parse       214 rows
	// 3  summarize   3 findings
}
