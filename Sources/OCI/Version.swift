/// What this build calls itself in `version`, `info` and the HTTP `Server` header.
public enum ProductVersion {
    public static let current = "0.1.0"
}
