// Sends refused and valid push messages in turn over one pooled connection, with net/http.
//
// pooled VALID_URL REFUSED_URL COUNT: see tests/clients/README.md.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"time"
)

type report struct {
	Statuses    map[int]int `json:"statuses"`
	Connections int         `json:"connections"`
	Faults      []string    `json:"faults"`
}

func main() {
	valid, refused := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: 30 * time.Second}
	body := bytes.Repeat([]byte("x"), 4000)
	result := report{Statuses: map[int]int{}, Faults: []string{}}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			result.Connections++
		}
	}}
	post := func(number int, url string, ttl bool) {
		// Only a reader: the library cannot send it again without a word when a connection breaks.
		request, err := http.NewRequest("POST", url, io.MultiReader(bytes.NewReader(body)))
		if err != nil {
			panic(err)
		}
		request.ContentLength = int64(len(body))
		request.Header.Set("Content-Encoding", "aes128gcm")
		if ttl {
			request.Header.Set("TTL", "60")
		}
		request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
		response, err := client.Do(request)
		if err != nil {
			result.Faults = append(result.Faults, fmt.Sprintf("%d: %T", number, err))
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		result.Statuses[response.StatusCode]++
	}
	for number := 0; number < count; number++ {
		// No such endpoint, and a message without its TTL.
		if number%2 == 1 {
			post(number, refused, true)
		} else {
			post(number, valid, false)
		}
		post(number, valid, true)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		panic(err)
	}
}
