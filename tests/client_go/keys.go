package main

import "fmt"

// family names keys that belong together.
type family string

// keys gives as many keys, in ascending order. Their first two letters are spread evenly over the alphabet, along which
// the cluster is cut, so that every region has its share of them.
func (f family) keys(count int) [][]byte {
	keys := make([][]byte, count)
	for number := range keys {
		head := number * (letters * letters) / count
		keys[number] = []byte(fmt.Sprintf("%c%c/%s/%06d", 'a'+head/letters, 'a'+head%letters, f, number))
	}
	return keys
}

const letters = 26

// longer gives a key with one more byte, which comes after the key and before the next.
func longer(key []byte, with byte) []byte {
	return append(append([]byte{}, key...), with)
}
