/// Programs that set up an association over SCTP (RFC 9260), or where the kernel has none, its first two packets.
enum SCTP {
    /// Python: whether the kernel has it.
    static let probe = """
        import socket
        try:
            print(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132) is not None)
        except OSError:
            print(False)
        """

    /// Perl: line by line to the log.
    static let library = "use Socket; $| = 1;"

    /// Perl: accepts one association after the other.
    static let server = """
        socket(my $l, AF_INET, SOCK_STREAM, 132) && bind($l, pack_sockaddr_in(9900, INADDR_ANY)) && listen($l, 5) or die $!;
        print "ready\\n";
        while (my $peer = accept(my $c, $l)) {
            print "from ", inet_ntoa((unpack_sockaddr_in($peer))[1]), " to port 9900\\n";
            close $c;
        }
        """

    /// Perl: answers an INIT with an INIT ACK, checksum (CRC-32C, little endian) included.
    static let rawServer = """
        sub sum {
            my $c = 0xffffffff;
            for (unpack "C*", $_[0]) { $c ^= $_; $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1..8 }
            pack "V", $c ^ 0xffffffff
        }
        socket(my $s, AF_INET, SOCK_RAW, 132) or die $!;
        print "ready\\n";
        while (my $peer = recv $s, my $packet, 1500, 0) {
            my ($from, $to, undef, undef, $type, undef, undef, $tag) =
                unpack "nnNNCCnN", substr $packet, (ord($packet) & 15) * 4;
            next if $type != 1;
            print "from ", inet_ntoa((unpack_sockaddr_in($peer))[1]), " to port $to\\n";
            my $answer = pack "nnNNCCnNNnnN", $to, $from, $tag, 0, 2, 0, 20, 77, 65536, 1, 1, 1;
            substr($answer, 8, 4) = sum($answer);
            send $s, $answer, 0, $peer;
        }
        """

    /// Python: sets up an association.
    static let client = """
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
        s.settimeout(10)
        s.connect(("192.0.2.1", 9899))
        print("answer from port %d of %s" % s.getpeername()[::-1])
        """

    /// Python: sends an INIT and waits for the INIT ACK.
    static let rawClient = """
        import socket, struct
        def sum(data):
            c = 0xffffffff
            for byte in data:
                c ^= byte
                for _ in range(8):
                    c = c >> 1 ^ 0x82f63b78 if c & 1 else c >> 1
            return struct.pack("<I", c ^ 0xffffffff)
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
        s.settimeout(10)
        packet = struct.pack(">HHIIBBHIIHHI", 5000, 9899, 0, 0, 1, 0, 20, 4711, 65536, 1, 1, 1)
        s.sendto(packet[:8] + sum(packet) + packet[12:], ("192.0.2.1", 0))
        while True:
            data, peer = s.recvfrom(1500)
            source, target, tag, _, kind = struct.unpack_from(">HHIIB", data, (data[0] & 15) * 4)
            if kind == 2 and tag == 4711 and target == 5000:
                print("answer from port %d of %s" % (source, peer[0]))
                break
        """
}
