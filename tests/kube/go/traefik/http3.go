// SPDX-License-Identifier: Apache-2.0

// Asks for one URL by HTTP/3, over and over: what curl cannot on Debian. Certificates are not looked at.
//
//	http3 [-n COUNT] [-resolve HOST:PORT:ADDRESS] URL
//
// Prints the body of each answer; ends with 1 at the first that fails. Each request is a connection of its own.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func ask(url, from, to string) error {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if from != "" {
		transport.Dial = func(ctx context.Context, address string, tls *tls.Config, config *quic.Config) (*quic.Conn, error) {
			if address == from {
				address = to
			}
			return quic.DialAddrEarly(ctx, address, tls, config)
		}
	}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	fmt.Printf("%s %s\n", answer.Proto, strings.TrimSpace(string(body)))
	return nil
}

func main() {
	count := flag.Int("n", 1, "how often")
	resolve := flag.String("resolve", "", "HOST:PORT:ADDRESS, as curl has it")
	flag.Parse()
	from, to := "", ""
	if parts := strings.SplitN(*resolve, ":", 3); len(parts) == 3 {
		from, to = parts[0]+":"+parts[1], parts[2]+":"+parts[1]
	}
	for i := 0; i < *count; i++ {
		if err := ask(flag.Arg(0), from, to); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
